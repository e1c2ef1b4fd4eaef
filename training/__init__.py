"""Training on synthetic humans: motion, simulated observations, networks, scores."""
