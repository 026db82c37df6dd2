"""Stage one: a frame becomes 26 numbers: decode, detect, track, align, rec; extract wires them."""
