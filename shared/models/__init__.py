"""Base models: where they are, loading one once; the embedded one lives here."""
