"""What operators see: logs, metrics, keys that fail."""
