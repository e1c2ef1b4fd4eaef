"""Synthetic video: rendered people with exact optical flow, stored in shards."""
