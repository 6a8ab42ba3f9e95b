"""mlopt: from a trained model to proven files for phones."""
