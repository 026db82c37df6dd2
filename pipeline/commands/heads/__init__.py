"""Commands of stage two: check, train-head, evaluate, predict, score, ablate, finetune."""
