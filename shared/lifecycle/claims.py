"""Which worker serves a request, and who may take over: a log of generations that needs only create-if-absent.

    claims/<function>/<request_id>/000001.json, 000002.json, ...    one per attempt; the owner is the highest

| state of the highest claim | who moves it | how | to |
|---|---|---|---|
| none | any worker | create 000001 | held |
| held | its owner | rewrite its claim with a new `beat`, every lease/3 | held |
| held, unchanged for 2 leases on the observer's clock | any observer | create the next | held, next attempt |
| deleted | its owner, at its next beat | nothing: the attempt is lost | none |
| held | its owner, on shutdown | rewrite its claim with `released` | released |
| held | its owner, that began with what it had read before: the manifest is another by now | delete its claim | none |
| held | erasure of its user | create the next, released | released; its owner notices within a lease |
| held | its owner, if its child died or its answer could not be written | rewrite its claim with `ended` | ended |
| ended | any worker | create the next | held, next attempt |
| held | its owner, if its device broke | rewrite its claim with `released` and `ended` | released |
| released | any worker | create the next | held, not counted as an attempt |
| unreadable | any observer, as if held by an owner that never beats | create the next | held, next attempt |

A broken device is not the request's fault, so such a claim does not count as an attempt. But one request may break one
device after another, so it also ends after as many broken devices as there may be attempts.

The observer's clock is monotonic and its own: no two wall clocks are ever compared. What another observer saw before
counts if it is passed on together with its age (`observations.py`). A lease is not mutual exclusion: a paused owner may
come back. The fence against it is `result.json`, created only if absent (`invocation.py`); a claim only avoids doing
work twice.
"""

import hashlib
import logging
import re
import secrets
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.buckets.base import Bucket, BucketError, ObjectTooLarge
from shared.contract import keys
from shared.lifecycle.observations import Observations
from shared.settings import Lease

log = logging.getLogger(__name__)

STALE_LEASES = 2.0  # leases without a beat after which an owner counts as dead
FILE = re.compile(r"(\d{6})\.json")
LARGEST = 64 * 1024  # bytes of a claim; real ones have a few hundred
UNKNOWN = "unknown"  # owner of a claim that cannot be read
SILENT = "a worker stopped responding"


class ClaimRecord(BaseModel):
    """One attempt, as stored in the bucket.

    Attributes:
        payload_sha256: hash of the body with which the request was accepted; empty in a claim that cannot be read.
        started: on the owner's wall clock, for people only.
        ended: why the attempt ended without an answer; empty if it has not, or was just handed back.
    """

    model_config = ConfigDict(frozen=True)

    owner: str
    attempt: int
    nonce: str
    payload_sha256: str
    manifest: str
    started: float = Field(allow_inf_nan=False)
    beat: int = 0
    released: bool = False
    ended: str = ""

    @property
    def closed(self) -> bool:
        """Whether its owner has handed it back or ended it, so that the request waits for any worker."""
        return self.released or bool(self.ended)

    @property
    def broken(self) -> bool:
        """Whether it was handed back because its worker's device broke."""
        return self.released and bool(self.ended)

    def accepts(self, *payload_sha256: str) -> bool:
        """Return whether the request was accepted with the body of these hashes; True if the claim does not say."""
        return self.payload_sha256 in ("", *payload_sha256)


@dataclass(frozen=True)
class HeldClaim:
    """We own the request; `record.attempt` is the number in the prefix of our artifacts."""

    record: ClaimRecord


@dataclass(frozen=True)
class ClaimBusy:
    """Another worker owns the request, or has just taken it; look again later."""


@dataclass(frozen=True)
class AttemptsUsedUp:
    """Every allowed attempt ended without an answer; the claim is ours, to write the answer that says so."""

    record: ClaimRecord
    earlier: Sequence[ClaimRecord]

    @property
    def by_devices(self) -> bool:
        """Whether more attempts broke a device than ended because a process died."""
        return sum(one.broken for one in self.earlier) > sum(not one.released for one in self.earlier)

    def __str__(self) -> str:
        """Return a sentence that says how the attempts ended."""
        causes = Counter(one.ended or SILENT for one in self.earlier if one.ended or not one.released)
        told = "; ".join(cause if count == 1 else f"{cause} ({count} times)" for cause, count in causes.items())
        return f"{causes.total()} attempts ended without an answer: {told}"


class Claims:
    """The claims of one function's requests, as one worker sees them.

    Args:
        owner: this worker's name in its claims.
        clock: monotonic, in seconds.
        observations: of others' claims; None starts without any.
    """

    def __init__(
        self,
        bucket: Bucket,
        function: str,
        lease: Lease,
        owner: str,
        clock: Callable[[], float] = time.monotonic,
        observations: Observations | None = None,
    ) -> None:
        self._bucket, self._function, self._lease, self._owner, self._clock = bucket, function, lease, owner, clock
        self._observations = observations or Observations(lambda: self._clock())
        self._unclosed: dict[str, ClaimRecord] = {}

    def first(self, request_id: str) -> ClaimRecord | None:
        """Return the claim that accepted the request; its hash tells which body is answered. None if there is none."""
        return self._read(self._key(request_id, 1), 1)

    def all(self, request_id: str) -> list[ClaimRecord]:
        """Return every attempt in order, up to the first missing number; claims beyond it are not ours."""
        prefix, records = self._prefix(request_id), list[ClaimRecord]()
        for info in self._bucket.list(prefix):
            named = FILE.fullmatch(info.key.removeprefix(prefix))
            if named is None or int(named[1]) != len(records) + 1:
                continue
            record = self._read(info.key, len(records) + 1)
            if record is None:
                break
            records.append(record)
        return records

    def acquire_first(self, request_id: str, manifest: str, payload_sha256: str) -> HeldClaim | None:
        """Claim the request if it has no claim at all; None if it has one, whoever holds it. One store call at most."""
        self.close_owed()
        if self._observations.knows(self._prefix(request_id)):
            return None
        record = self._create(request_id, 1, manifest, payload_sha256)
        return None if record is None else HeldClaim(record)

    def withdraw(self, request_id: str, record: ClaimRecord) -> None:
        """Delete our claim on a request that turned out to need none, before anything was done for it.

        It stays if we were frozen so long that another worker has taken over: that one's claim comes after ours.
        """
        if not self.is_lost(request_id, record):
            self._bucket.delete(self._key(request_id, record.attempt))

    def acquire(self, request_id: str, manifest: str, payload_sha256: str) -> HeldClaim | ClaimBusy | AttemptsUsedUp:
        """Claim the request if no worker holds it, or if its owner is dead or has released it."""
        self.close_owed()
        records = self.all(request_id)
        if records and not self._is_free(request_id, records[-1]):
            return ClaimBusy()
        record = self._create(request_id, _next_number(records), manifest, payload_sha256)
        if record is None:
            return ClaimBusy()
        self._observations.forget(self._prefix(request_id))
        died = sum(not earlier.released for earlier in records)
        broke = sum(earlier.broken for earlier in records)
        return AttemptsUsedUp(record, records) if max(died, broke) >= self._lease.attempts else HeldClaim(record)

    def beat(self, request_id: str, record: ClaimRecord) -> ClaimRecord | None:
        """Write a new beat; returns the updated record, or None if the claim is lost, see `is_lost`.

        A claim that was deleted, by the erasure of its user or by an operator, must not come back by a beat; nor may a
        beat overwrite the claim of a worker that has begun an attempt of the same number since.
        """
        if self.is_lost(request_id, record):
            return None
        return self._rewrite(request_id, record.model_copy(update={"beat": record.beat + 1}))

    def is_lost(self, request_id: str, record: ClaimRecord) -> bool:
        """Return whether another attempt has taken over, or the claim is gone."""
        superseded = self._bucket.head(self._key(request_id, record.attempt + 1)) is not None
        return superseded or not self._is_ours(request_id, record)

    def _is_ours(self, request_id: str, record: ClaimRecord) -> bool:
        """Return whether our claim is still there; one that was damaged is, and the next beat mends it."""
        found = self._read(self._key(request_id, record.attempt), record.attempt)
        return found is not None and (found.owner == UNKNOWN or found.nonce == record.nonce)

    def release(self, request_id: str, record: ClaimRecord, cause: str = "") -> None:
        """Hand the request back, so that any worker may go on at once; `cause` says how our device broke, if it did."""
        self._close(request_id, record.model_copy(update={"released": True, "ended": cause}))

    def end(self, request_id: str, record: ClaimRecord, cause: str) -> None:
        """End the attempt without an answer; it counts, and any worker may begin the next one at once."""
        self._close(request_id, record.model_copy(update={"ended": cause}))

    def close_owed(self) -> None:
        """Close the claims that the store failed to close before, even if others have taken over since.

        Otherwise a worker that lived would count as one that fell silent.
        """
        for key, record in list(self._unclosed.items()):
            try:
                if self._bucket.head(key) is not None:  # if erasure deleted it, it stays deleted
                    self._bucket.put(key, _encode(record))
            except (BucketError, OSError) as error:
                log.warning("claim %s could not be closed yet: %s", key, error)
                return
            self._unclosed.pop(key, None)

    def remove(self, request_id: str) -> None:
        """Delete all claims below a name that needs no answer of its own."""
        for info in list(self._bucket.list(self._prefix(request_id))):
            self._bucket.delete(info.key)

    def supersede(self, request_id: str) -> None:
        """Take an answered request from the worker that still works on it; that worker notices at its next beat."""
        records = self.all(request_id)
        if records and not records[-1].released:
            key, number = self._key(request_id, _next_number(records)), _next_number(records)
            taken = {"owner": self._owner, "attempt": number, "nonce": secrets.token_hex(8), "released": True}
            self._bucket.put_if_absent(key, _encode(records[-1].model_copy(update=taken)))

    def _create(self, request_id: str, attempt: int, manifest: str, payload_sha256: str) -> ClaimRecord | None:
        """Create our claim; None if another worker has created the same attempt."""
        record = ClaimRecord(
            owner=self._owner,
            attempt=attempt,
            nonce=secrets.token_hex(8),
            payload_sha256=payload_sha256,
            manifest=manifest,
            started=time.time(),
        )
        created = self._bucket.put_if_absent(self._key(request_id, attempt), _encode(record))
        return record if created else None

    def _close(self, request_id: str, record: ClaimRecord) -> None:
        self._unclosed[self._key(request_id, record.attempt)] = record
        self._rewrite(request_id, record)
        self._unclosed.pop(self._key(request_id, record.attempt), None)

    def _rewrite(self, request_id: str, record: ClaimRecord) -> ClaimRecord:
        self._bucket.put(self._key(request_id, record.attempt), _encode(record))
        return record

    def _is_free(self, request_id: str, record: ClaimRecord) -> bool:
        return record.closed or self._is_stale(request_id, record)

    def _is_stale(self, request_id: str, record: ClaimRecord) -> bool:
        unchanged = self._observations.seconds_unchanged(self._prefix(request_id), _encode(record))
        return unchanged >= STALE_LEASES * self._lease.seconds

    def _read(self, key: str, number: int) -> ClaimRecord | None:
        try:
            text = self._bucket.find(key, LARGEST)
        except ObjectTooLarge:
            return _unreadable(key.encode(), number)
        if text is None:
            return None
        try:
            return ClaimRecord.model_validate_json(text).model_copy(update={"attempt": number})
        except ValidationError:
            return _unreadable(text, number)

    def _prefix(self, request_id: str) -> str:
        return keys.claims(self._function, request_id)

    def _key(self, request_id: str, attempt: int) -> str:
        return f"{self._prefix(request_id)}{attempt:06d}.json"


def _next_number(records: Sequence[ClaimRecord]) -> int:
    return records[-1].attempt + 1 if records else 1


def _unreadable(text: bytes, number: int) -> ClaimRecord:
    """Return a stand-in for a claim that was damaged or not written by photog; it changes when the object does."""
    digest = hashlib.sha256(text).hexdigest()
    return ClaimRecord(owner=UNKNOWN, attempt=number, nonce=digest, payload_sha256="", manifest="", started=0.0)


def _encode(record: ClaimRecord) -> bytes:
    return record.model_dump_json().encode()
