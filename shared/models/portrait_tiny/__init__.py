"""portrait-tiny: a Stable-Diffusion-shaped pipeline of faces at 128 px, small enough to ship."""
