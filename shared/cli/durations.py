"""How long requests take on this machine: what the last ones took, so that a command can say it beforehand."""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from shared.contract.manifests import Json
from shared.settings import ModelSettings, Settings

FILE = "durations.json"
EMBEDDED = {"load": 6.0, "check": 0.5, "train": 0.2, "keep": 0.6, "generate": 4.0}
"""Seconds on two cores, until this machine has shown its own: the start of a worker, a photo, a step, a photo that is
kept without a training, a portrait. A step of a training takes 0.16 to 0.18 (64 s for 400).
Measured with the embedded models; of others nothing is known beforehand."""


class Durations:
    """Seconds of each kind of work with the configured models, remembered in the home folder.

    Args:
        settings: their home and models.
    """

    def __init__(self, settings: Settings) -> None:
        self._file = settings.home.expanduser() / FILE
        self._models = f"{settings.model.path} {settings.faces.engine} {settings.model.device}"
        known = _read(self._file).get(self._models, {})
        defaults = EMBEDDED if settings.model.path == ModelSettings().path else {}
        self._known = defaults | {kind: one for kind, one in known.items() if isinstance(one, int | float) and one > 0}

    def expect(self, kind: str, units: float = 1) -> float | None:
        """Return how many seconds so many units of a kind of work should take; None if nobody knows."""
        seconds = self._known.get(kind)
        return None if seconds is None else seconds * units

    def note(self, seconds: Mapping[str, float]) -> None:
        """Remember what a unit of each kind has just taken; nothing, where the home folder cannot be written."""
        known = _read(self._file)
        known[self._models] = self._known = self._known | dict(seconds)
        with suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._file.write_text(json.dumps(known, indent=1))


def _read(file: Path) -> Json:
    try:
        known = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) and all(isinstance(one, dict) for one in known.values()) else {}
