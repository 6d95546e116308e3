"""Arrays of pixels: their types, and floats made bytes."""
