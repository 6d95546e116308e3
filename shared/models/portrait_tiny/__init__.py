"""portrait-tiny: a pipeline of Stable Diffusion's form for faces at 96 px, small enough to ship."""
