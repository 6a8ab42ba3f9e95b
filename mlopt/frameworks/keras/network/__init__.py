"""A `tf_keras` model that can be taken apart, changed and trained; every module in here but this one imports it."""
