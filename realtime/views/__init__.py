"""Between a running pipeline and whoever looks on: what the main thread does while a window, browser or terminal shows it."""
