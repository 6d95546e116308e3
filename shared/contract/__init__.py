"""What crosses the wire and what a function sees: manifests, ids, references, the function and its workspace."""
