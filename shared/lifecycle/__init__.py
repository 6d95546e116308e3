"""One request from its manifest to its answer."""
