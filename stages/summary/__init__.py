"""Sequences become a lab's numbers: weights of frames, windows, baselines, episodes, groups."""
