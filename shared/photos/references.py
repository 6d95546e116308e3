"""References to pictures as messages, logs and answers may show them; see `shared.references`."""

from shared.references import SHOWN, shown, shown_host, without_secrets

__all__ = ["SHOWN", "shown", "shown_host", "without_secrets"]
