"""What detectors are trained on: scenes, people, and a teacher's labels."""
