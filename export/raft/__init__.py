"""RAFT-small as an ONNX model of plain operators: the optical flow of the GPU."""
