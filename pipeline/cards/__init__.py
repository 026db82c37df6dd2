"""Model cards: listing them, checking what a network gives by one, and fetching weights."""
