"""Layers, losses and passes whose gradient is left out, for a course. README.md has the order."""
