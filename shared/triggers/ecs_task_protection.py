"""Protection of an ECS task from scale-in while it works; ECS_AGENT_URI names the agent's endpoint."""

import logging
import math
import os
import time
from collections.abc import Callable

from shared.contract.hooks import AttemptHook

log = logging.getLogger(__name__)

ENDPOINT = "/task-protection/v1/state"
ANSWER_SECONDS = 3.0
LONGEST_MINUTES = 2880  # ECS allows 48 hours


class TaskProtection(AttemptHook):
    """Starts protection with work and ends it when a poll finds nothing, so that a busy worker rarely calls the agent.

    Outside ECS it does nothing, and if the agent fails it only logs that: SIGTERM then hands the request back.

    Args:
        seconds: the longest that one request takes; protection expires by itself after twice that.
    """

    def __init__(self, seconds: float, agent: str | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._agent = agent or os.environ.get("ECS_AGENT_URI")
        self._minutes = min(LONGEST_MINUTES, max(1, math.ceil(2 * seconds / 60)))
        self._clock = clock
        self._until: float | None = None

    def before_request(self) -> None:
        """Protect the task, unless the current protection lasts long enough."""
        lasting = self._until is not None and self._until - self._clock() >= self._minutes * 60 / 2
        if not lasting and self._put({"ProtectionEnabled": True, "ExpiresInMinutes": self._minutes}):
            self._until = self._clock() + self._minutes * 60

    def idle(self) -> None:
        """End the protection: there is no work, so this task may be stopped."""
        if self._until is not None and self._put({"ProtectionEnabled": False}):
            self._until = None

    def _put(self, state: dict[str, object]) -> bool:
        if self._agent is None:
            return False
        import httpx  # here, since commands and workers that send nothing do without it

        try:
            httpx.put(self._agent + ENDPOINT, json=state, timeout=ANSWER_SECONDS).raise_for_status()
        except httpx.HTTPError as error:
            log.warning("the protection from scale-in could not be changed: %s", error)
            return False
        return True
