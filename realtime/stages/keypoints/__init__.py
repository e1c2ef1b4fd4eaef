"""Keypoints of one person in a crop of the frame."""
