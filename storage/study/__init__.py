"""A lab's own tables: design, events and marks in, tables of statistics out."""
