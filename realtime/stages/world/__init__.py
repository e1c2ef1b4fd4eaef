"""The upright frame that bodies stand in: vertical, camera motion, floor, feet."""
