"""What the image lays around the product: firewall, front, units, certificates, watchdog."""
