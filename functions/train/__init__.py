"""Train a LoRA of a face from checked photos."""
