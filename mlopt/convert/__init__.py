"""From a trained model to files: the protocols that a format implements, and the calibration that they share."""
