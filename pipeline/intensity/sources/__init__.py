"""Where sequences are read from, and where they lie while a head is trained."""
