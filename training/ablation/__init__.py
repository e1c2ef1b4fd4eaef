"""Ablation of the inputs: the same network, people and training budget with different inputs."""
