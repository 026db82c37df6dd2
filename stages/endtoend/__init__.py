"""REC and head as one model."""
