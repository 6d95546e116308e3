"""Check photos of a person: whether each is usable, why not, and whether the face is frontal."""
