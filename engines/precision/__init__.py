"""A network in another precision, for a device that has only the onnx package."""
