"""Stage one over many clips."""
