"""Tests; unit: one noun alone, functional: a function or a protocol, scenario: real processes."""
