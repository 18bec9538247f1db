"""The core daemon: one table of jobs, and the reconcilers that follow every change of what people decided."""
