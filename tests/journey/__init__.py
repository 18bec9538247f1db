"""Whole days in the life of a box, with every process real."""
