"""From keypoints and flow to a posed, placed and smoothed body."""
