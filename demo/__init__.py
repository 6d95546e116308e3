"""The demo: pictures out of installed packages, through a watched folder, to a contact sheet."""
