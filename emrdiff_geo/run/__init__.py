"""A fusion from its options to its tiles: plan, memory, workers, and what is recorded of it."""
