"""Files and keys: read with care, written aside and then renamed."""
