"""The view in a web browser: one page, served by the program itself, for any number of viewers."""
