"""Private names of the libraries that this package builds on, one file a library: what an upgrade may break."""
