"""Commands of the networks of stage one: models, trainings of REC and of the detector."""
