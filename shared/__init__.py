"""What all of photog's functions stand on: manifests, buckets, claims, pictures, faces, base models."""
