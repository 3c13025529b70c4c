"""The webcam window."""
