"""Techniques that make a network smaller or faster, one file each, written once for every framework."""
