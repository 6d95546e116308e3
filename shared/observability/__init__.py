"""Observability for operators: logs, metrics, failing keys."""
