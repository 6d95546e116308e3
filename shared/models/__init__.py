"""Base models: finding and loading them, and planning their memory; the embedded model is stored here."""
