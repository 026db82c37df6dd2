"""Stage two over a store: heads trained, scored, used."""
