"""Small clips made from photographs, with known intensities, for the demo and the tests."""
