"""One face of a picture: its points, masks, light and grain."""
