"""Cross-validation: which fold holds which clip out, and the trainings of all folds."""
