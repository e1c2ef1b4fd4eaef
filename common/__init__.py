"""What every room may use: the root of all errors, array types, a pinhole camera, files written whole, cache folders."""
