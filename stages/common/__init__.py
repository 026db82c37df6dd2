"""What several stages share: the training of networks."""
