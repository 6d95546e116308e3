"""Arrays of pixels: their types, and their conversion from floats to bytes."""
