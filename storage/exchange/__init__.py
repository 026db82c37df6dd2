"""Features in and out: other tools' files, and files for other tools."""
