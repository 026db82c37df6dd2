"""Orchestration: runs over many clips, executors, run folders, reports."""
