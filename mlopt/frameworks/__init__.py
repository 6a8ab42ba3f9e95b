"""A trainable model at the edge: one protocol, and each framework behind it, imported late."""
