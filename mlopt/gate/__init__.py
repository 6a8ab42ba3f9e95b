"""Budgets and evidence to a verdict that CI can trust."""
