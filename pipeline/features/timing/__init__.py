"""How long an extraction takes on this machine, step by step, and would take on others."""
