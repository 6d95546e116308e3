"""Fuse a person's face with the template's: warped, relit and blended, or by a network."""
