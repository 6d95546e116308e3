"""Protection of an ECS task from scale-in while it works; the agent's endpoint is named by ECS_AGENT_URI."""

import logging
import math
import os
import time
from collections.abc import Callable

import httpx

from shared.contract.hooks import AttemptHook

log = logging.getLogger(__name__)

ENDPOINT = "/task-protection/v1/state"
ANSWER_SECONDS = 3.0
LONGEST_MINUTES = 2880  # ECS allows 48 hours


class TaskProtection(AttemptHook):
    """Set when work begins and taken off when a poll comes back empty, so that a busy worker does not call per request.

    Outside of ECS, and where the agent fails, it does nothing but say so: SIGTERM then hands the request back.

    Args:
        seconds: the longest that one request takes; protection ends by itself after twice of it.
    """

    def __init__(self, seconds: float, agent: str | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._agent = agent or os.environ.get("ECS_AGENT_URI")
        self._minutes = min(LONGEST_MINUTES, max(1, math.ceil(2 * seconds / 60)))
        self._clock = clock
        self._until: float | None = None

    def before_request(self) -> None:
        """Protect, unless the protection lasts for it already."""
        lasting = self._until is not None and self._until - self._clock() >= self._minutes * 60 / 2
        if not lasting and self._put({"ProtectionEnabled": True, "ExpiresInMinutes": self._minutes}):
            self._until = self._clock() + self._minutes * 60

    def idle(self) -> None:
        """Nothing to do: this task may go."""
        if self._until is not None and self._put({"ProtectionEnabled": False}):
            self._until = None

    def _put(self, state: dict[str, object]) -> bool:
        if self._agent is None:
            return False
        try:
            httpx.put(self._agent + ENDPOINT, json=state, timeout=ANSWER_SECONDS).raise_for_status()
        except httpx.HTTPError as error:
            log.warning("no protection from scale-in: %s", error)
            return False
        return True
