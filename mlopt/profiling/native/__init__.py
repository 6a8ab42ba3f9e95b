"""Our C sources, and what is built from them at first use."""
