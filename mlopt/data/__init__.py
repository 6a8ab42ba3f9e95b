"""The user's data: one Dataset, whatever it was read from."""
