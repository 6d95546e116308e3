"""Image-to-image diffusion of one region, with the users' LoRAs."""
