"""Recipes that mlopt ships, one YAML file each: `mlopt recipes list`."""
