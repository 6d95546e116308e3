"""Code that the three functions share: manifests, buckets, claims, pictures, faces, base models."""
