"""Make, convert and prove the networks that the real-time part runs."""
