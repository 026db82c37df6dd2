"""Step 1: a video file becomes frames with their times."""
