"""Measuring the errors of the detectors and of the flow engine, and fitting the tables that training draws from."""
