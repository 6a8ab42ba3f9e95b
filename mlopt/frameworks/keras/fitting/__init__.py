"""Training a `tf_keras` model as a `FitTask` says; every module in here but this one imports TensorFlow."""
