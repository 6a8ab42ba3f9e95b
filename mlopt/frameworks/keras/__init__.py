"""Keras models and SavedModels, opened by TensorFlow; every module in here but this one imports it."""
