"""What is kept of a run: annotated video, motion files, snapshots."""
