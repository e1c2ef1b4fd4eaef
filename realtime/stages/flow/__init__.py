"""Optical flow of a person's crop."""
