"""The SMPL-layout body: loading, posing in numpy, torch and ONNX, and conversion between bodies."""
