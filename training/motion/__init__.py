"""Human motion for training: 24 joints in SMPL order, read from a packed set or from motion-capture files."""
