"""A Keras network that rounds in training as integer kernels do; every module in here but this one imports it."""
