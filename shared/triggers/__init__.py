"""Where ObjectCreated comes from."""
