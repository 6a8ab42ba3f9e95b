"""Measuring exported files where they run."""
