"""Generate a portrait: the template with the person's face."""
