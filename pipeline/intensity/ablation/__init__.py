"""Many trainings on one cache, a row each."""
