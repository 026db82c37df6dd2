"""Labelled face crops, whatever database they come from."""
