"""The progress of a portrait, in stages and network evaluations."""

import time

from shared.contract.workspace import Workspace


class Progress:
    """Counts the finished steps of one request and reports them to the workspace."""

    def __init__(self, workspace: Workspace, total: int) -> None:
        """Start at 0 of `total` steps: the stages and network evaluations of all jobs."""
        self._workspace, self._total = workspace, max(1, total)
        self._done, self._stage, self._started = 0, "template", time.monotonic()

    def begin(self, stage: str) -> None:
        """Report that a stage starts."""
        self._stage = stage
        self._report()

    def advance(self, jobs: int) -> None:
        """Report that one network evaluation, or the whole stage, is done for this many jobs."""
        self._done += jobs
        self._report()

    def _report(self) -> None:
        eta = None
        if self._done:
            eta = round((time.monotonic() - self._started) / self._done * (self._total - self._done), 1)
        self._workspace.progress(self._stage, self._done, self._total, eta)
