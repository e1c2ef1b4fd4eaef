"""The stages of the pipeline: from frames to keypoints, flow, poses and placed bodies."""
