"""Live classification in a webcam window."""
