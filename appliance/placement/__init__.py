"""Which model runs on which node, why, and what a fleet of machines could do."""
