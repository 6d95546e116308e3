"""Frames of glasses: found, kept, brought along."""
