"""Action units taught by geometry: warped pairs, and how they are measured."""
