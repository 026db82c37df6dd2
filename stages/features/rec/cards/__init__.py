"""Model cards: how a public network's crops, columns and weights are described."""
