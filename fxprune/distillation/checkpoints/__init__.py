"""Checkpoints of a run: what they hold, how they are stored, and when they are written."""
