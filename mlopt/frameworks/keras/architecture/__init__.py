"""A Keras model's architecture, as a file holds it: read by an allow list before any of it is built."""
