"""Requests that viewers wait for, each looked at once for all of them, however many tabs are open."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from page.settings import PageSettings
from shared.buckets import BucketError
from shared.contract import keys
from shared.contract.manifests import Json
from shared.operations.client import Client

log = logging.getLogger(__name__)

QUICK_SECONDS = 0.1  # between two looks for what was sent just now: a check takes a few tenths
YOUNG_SECONDS = 5.0
FORGOTTEN_SECONDS = 10.0  # after which nobody counts as waiting for a request, unless it was looked at again


@dataclass
class Seen:
    """What is known of a request now: its progress while it runs, its answer once there is one."""

    progress: Json | None = None
    answer: Json | None = None
    curve: list[tuple[int, float]] = field(default_factory=list)  # loss by step, as far as somebody looked
    likeness: list[tuple[int, float]] = field(default_factory=list)  # likewise; one for each validation
    pictures: dict[int, str] = field(default_factory=dict)  # of a training's validations: keys by step
    begun: float = 0.0  # when it was looked for first, and last, by the follower's clock
    wanted: float = 0.0


class Follower:
    """Looks for answers and progress, for as long as somebody asks for them."""

    def __init__(self, client: Client, settings: PageSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._client, self._seconds, self._clock = client, settings.poll_seconds, clock
        self._seen: dict[tuple[str, str], Seen] = {}

    def look(self, function: str, request_id: str) -> Seen:
        """Return what is known of the request, and keep looking for it during the next seconds; costs nothing."""
        now = self._clock()
        found = self._seen.setdefault((function, request_id), Seen(begun=now))
        found.wanted = now
        return found

    async def run(self) -> None:
        """Look for everything that is wanted, until canceled: what is young more often."""
        looked = float("-inf")
        while True:
            now = self._clock()
            pause = QUICK_SECONDS if self._has_young(now) else self._seconds
            if self._seen and now - looked >= pause:
                looked = now
                await asyncio.to_thread(self.refresh)
            await asyncio.sleep(min(QUICK_SECONDS, self._seconds))

    def _has_young(self, now: float) -> bool:
        return any(one.answer is None and now - one.begun < YOUNG_SECONDS for one in self._seen.values())

    def refresh(self) -> None:
        """Look once for everything that is wanted; a store that fails is looked at again later."""
        now = self._clock()
        for identity, seen in list(self._seen.items()):
            if now - seen.wanted > FORGOTTEN_SECONDS:
                self._seen.pop(identity, None)
            elif seen.answer is None:
                self._refresh_one(identity, seen)

    def _refresh_one(self, identity: tuple[str, str], seen: Seen) -> None:
        try:
            progress = self._client.progress(*identity)
            answer = self._client.answer(*identity)
        except (BucketError, OSError) as error:
            log.warning("%s %s cannot be looked at: %s", *identity, error)
            return
        if progress is not None:
            seen.progress = progress
            if "loss" in progress and (not seen.curve or seen.curve[-1][0] < progress["step"]):
                seen.curve.append((progress["step"], progress["loss"]))
            if "validated" in progress:
                self._add_validation(identity, seen, int(progress["validated"]), progress.get("likeness"))
        seen.answer = answer

    def _add_validation(self, identity: tuple[str, str], seen: Seen, step: int, likeness: float | None) -> None:
        """Note the latest validation of a training; its pictures are listed until they are there."""
        if likeness is not None and (not seen.likeness or seen.likeness[-1][0] < step):
            seen.likeness.append((step, likeness))
        if step in seen.pictures:
            return
        try:
            for info in self._client.bucket.list(keys.result_folder(*identity)):
                if (made_after := keys.step_of_validation(info.key)) is not None:
                    seen.pictures[made_after] = info.key
        except (BucketError, OSError) as error:
            log.warning("the validation pictures of %s %s cannot be listed: %s", *identity, error)
