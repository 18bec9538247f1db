"""The console: pure screens and keys, and the real program on a pseudo-terminal."""
