"""A search over settings of a training, scored on val: grid or random."""
