"""Finding people and following them from frame to frame."""
