"""A user's videos are opened in a process of their own."""
