"""Stage one for sound: decode, place in time, measure."""
