"""What is said of values: nearest names, differences, notebook tables."""
