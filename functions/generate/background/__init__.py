"""Repaint the background around the people."""
