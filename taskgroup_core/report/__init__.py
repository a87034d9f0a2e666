"""Figures and tables drawn from stored runs."""
