"""Find the frames of glasses, so that they can be kept or erased."""
