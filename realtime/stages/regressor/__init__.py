"""From keypoints and flow to bodies: regressor network, translation fit, smoothing, posing."""
