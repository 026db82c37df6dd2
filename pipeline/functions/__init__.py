"""A Python function for each command, with its name and its words; a file a subject.

Arguments of the command are positional, options are keywords with underscores for dashes. The
command calls the same function and prints what it returns.
"""
