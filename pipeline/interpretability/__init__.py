"""Examine what a trained network has learned."""
