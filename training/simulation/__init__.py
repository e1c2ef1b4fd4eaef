"""What a camera and a detector would see of a posed body, drawn while training runs."""
