"""How far a portrait is, in stages and network evaluations."""

import time
from collections.abc import Sequence

from functions.generate.stages import Stage
from shared.contract.workspace import Workspace


class Progress:
    """Counts what is done of one request and tells the workspace."""

    def __init__(self, workspace: Workspace, stages: Sequence[Stage], faces: int, afterwards: int = 0) -> None:
        """Of a request with so many faces; `afterwards` is what is to be done on the whole picture."""
        self._workspace = workspace
        self._total = max(1, faces * sum(1 + stage.evaluations for stage in stages) + afterwards)
        self._done, self._stage, self._started = 0, "template", time.monotonic()

    def begin(self, stage: str) -> None:
        """A stage starts."""
        self._stage = stage
        self._say()

    def advance(self, faces: int = 1) -> None:
        """One network evaluation of so many faces, or the stage itself, is done."""
        self._done += faces
        self._say()

    def _say(self) -> None:
        eta = None
        if self._done:
            eta = round((time.monotonic() - self._started) / self._done * (self._total - self._done), 1)
        self._workspace.progress(self._stage, self._done, self._total, eta)
