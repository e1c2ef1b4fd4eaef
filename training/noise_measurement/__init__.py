"""Measuring the errors of keypoint detectors and flow estimators, and fitting the noise tables used in training."""
