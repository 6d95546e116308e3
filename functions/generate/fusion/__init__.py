"""A person's face put onto the template's: bent, relit and blended in, or by a network."""
