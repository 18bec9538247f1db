"""Releases: found, installed, running."""
