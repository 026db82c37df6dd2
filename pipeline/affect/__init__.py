"""The trainings and scores of REC as runs."""
