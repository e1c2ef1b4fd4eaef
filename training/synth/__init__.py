"""Synthetic humans: rendering them, and their exact optical flow."""
