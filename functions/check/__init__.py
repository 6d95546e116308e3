"""Check photos: usable or not, why, frontal or not."""
