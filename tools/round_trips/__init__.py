"""Exported motion files read back by other programs."""
