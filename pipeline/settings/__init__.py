"""Settings of commands and of Python's functions, from the configs that declare them."""
