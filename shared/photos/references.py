"""References to pictures as messages, logs and answers may show them; see `shared.contract.references`."""

from shared.contract.references import CUT, NAME, NAMELESS_SECRET, SHOWN, bounded, shown, shown_host, without_secrets

__all__ = ["CUT", "NAME", "NAMELESS_SECRET", "SHOWN", "bounded", "shown", "shown_host", "without_secrets"]
