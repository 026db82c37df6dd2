"""How the keypoint refiner is trained."""
