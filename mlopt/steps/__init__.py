"""Steps of recipes: one package each, a light door and the work behind it, written once for every framework."""
