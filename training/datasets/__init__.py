"""Readers for data sets of moving people that a user may have; none of them ships with the project."""
