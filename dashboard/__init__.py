"""The dashboard: records what the bus does and shows it. The composition root; it may import everything."""
