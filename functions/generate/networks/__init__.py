"""Image networks that the settings name."""
