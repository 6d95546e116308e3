"""The demo: a portrait from pictures of installed packages, made through a watched folder, with a contact sheet."""
