"""Generate a portrait: the template with the person's face in it."""
