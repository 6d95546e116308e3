"""The life of one request, from its manifest to its answer."""
