"""The systems: one module each, named after what it is."""
