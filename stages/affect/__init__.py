"""How REC is trained: data sets, augmentation, losses, fit, metrics."""
