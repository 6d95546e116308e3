"""Applications that use photog, to copy from; tests run them."""
