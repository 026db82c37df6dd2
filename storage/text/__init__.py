"""What is said of values: nearest names, differences, long lists, notebook tables, colours."""
