"""Scores on synthetic people, on data sets and against measured references."""
