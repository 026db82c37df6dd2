"""Training of the face detector and its refiner, as run folders."""
