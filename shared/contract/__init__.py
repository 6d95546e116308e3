"""Wire formats and the interfaces of a function: manifests, ids, references, the function and its workspace."""
