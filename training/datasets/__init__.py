"""Readers for data sets of people in motion that a user may have; none of them ships with the project."""
