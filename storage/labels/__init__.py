"""Intensity labels of clips: read from the files that people have, joined to a store."""
