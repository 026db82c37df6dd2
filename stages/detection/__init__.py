"""How the built-in face detector is trained."""
