"""Models: the files that engines load, and where each comes from."""
