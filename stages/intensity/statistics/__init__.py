"""Confidence intervals, tests and groups of scores."""
