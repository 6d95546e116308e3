"""How far a portrait is, in stages and network evaluations."""

import time

from shared.contract.workspace import Workspace


class Progress:
    """Counts what is done of one request and tells the workspace."""

    def __init__(self, workspace: Workspace, total: int) -> None:
        """Of a request with so many steps: stages and network evaluations of all its jobs."""
        self._workspace, self._total = workspace, max(1, total)
        self._done, self._stage, self._started = 0, "template", time.monotonic()

    def begin(self, stage: str) -> None:
        """A stage starts."""
        self._stage = stage
        self._say()

    def advance(self, jobs: int) -> None:
        """One network evaluation of so many jobs, or the stage itself, is done."""
        self._done += jobs
        self._say()

    def _say(self) -> None:
        eta = None
        if self._done:
            eta = round((time.monotonic() - self._started) / self._done * (self._total - self._done), 1)
        self._workspace.progress(self._stage, self._done, self._total, eta)
