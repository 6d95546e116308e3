"""Color balance, skin, make-up, sharpness and restoration of a finished face."""
