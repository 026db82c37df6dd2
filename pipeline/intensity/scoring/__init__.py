"""Scores of runs and of prediction files."""
