"""Shared by all rooms: the root of all errors, array types, a pinhole camera, atomic file writes, the cache folder."""
