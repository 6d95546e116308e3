"""Image networks from files that the settings name."""
