"""The background, repainted around the people."""
