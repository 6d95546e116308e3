"""One face of a picture: its landmarks, masks, light, grain and palette."""
