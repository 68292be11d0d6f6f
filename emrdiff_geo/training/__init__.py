"""Training and adaptation."""
