"""The stages of one run, strung together: what is asked, in which process each part runs, and what is kept."""
