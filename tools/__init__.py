"""Offline programs: benchmarks, motion quality, GIFs."""
