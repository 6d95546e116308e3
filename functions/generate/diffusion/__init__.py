"""Image-to-image diffusion of a region of a picture, with users' LoRAs."""
