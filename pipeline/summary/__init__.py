"""Runs that turn a store into a lab's tables."""
