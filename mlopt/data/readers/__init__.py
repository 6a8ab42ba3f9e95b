"""One file for each kind of source; every one of them is a `mlopt.data.source.Source`."""
