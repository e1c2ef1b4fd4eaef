"""Motion as data and as files."""
