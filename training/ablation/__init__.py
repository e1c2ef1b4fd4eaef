"""What each input is worth: the same network, people and budget with different inputs."""
