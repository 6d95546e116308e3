"""Restores a user's missing model from their trainings, as is needed in a copy of the results alone.

    results/train/<id>/result.json   says whose training it is, and when it was committed
    users/<user>/model.json          is made from the newest one, as a worker makes it after a training

| the user | what happens |
|---|---|
| has a model | no further call of the store |
| has none | the trainings are listed, and each answer that this process has not seen is read, at most MOST |
| was trained, or kept by train | the newest one whose LoRA, or first photo without one, exists is pointed to |
| was forgotten, even at this moment | nothing: artifacts, model and answer are deleted in that order, so none exists |
| is forgotten while this writes | the model is removed again, because the answer is gone |
"""

import logging
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

from pydantic import ValidationError

from shared.buckets.base import Bucket, BucketError, StoreUnavailable
from shared.contract import keys
from shared.contract.manifests import Json, decode
from shared.contract.users import model_of
from shared.lifecycle.pointers import Pointers, is_plausible

log = logging.getLogger(__name__)

MOST = 2000  # trainings that are listed, and read once in a process's life
LARGEST = 16 * 2**20  # bytes of an answer of train; one with 20 references has 300 kB
READERS = 8  # answers read at once
MODEL = re.compile(rf"{keys.USERS}([^/]+)/model\.json")


@dataclass(frozen=True, order=True)
class _Training:
    committed: float
    request_id: str
    user_id: str
    evidence: str


class Trainings:
    """The trainings of one bucket, as far as this process has had to read them."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket, self._pointers = bucket, Pointers(bucket)
        self._known: dict[str, _Training] = {}

    def restore(self, key: str) -> bool:
        """Restore a user's model that does not exist; returns whether it exists now. False for any other key.

        Raises StoreUnavailable. Other errors of one training are logged, and the others still count.
        """
        user = MODEL.fullmatch(key)
        if user is None:
            return False
        try:
            self._look()
        except StoreUnavailable:
            raise
        except BucketError as error:
            log.warning("%s cannot be restored from the trainings: %s", key, error)
            return False
        own = [one for one in self._known.values() if one.user_id == user[1]]
        return any(self._try_to_point(key, one) for one in sorted(own, reverse=True))

    def _look(self) -> None:
        found = list(islice(self._bucket.folders(keys.results("train")), MOST + 1))
        if len(found) > MOST:
            log.warning("%s has more than %d trainings, only the first of them are read", self._bucket.address, MOST)
        found = found[:MOST]
        self._known = {name: self._known[name] for name in found if name in self._known}
        new = [name for name in found if name not in self._known]
        with ThreadPoolExecutor(READERS) as pool:
            for name, training in zip(new, pool.map(self._read_training, new), strict=True):
                if training is not None:  # else it may be answered later
                    self._known[name] = training

    def _read_training(self, request_id: str) -> _Training | None:
        data = self._read_answer(request_id)
        if data is None:
            return None
        try:
            evidence = data["references"][0]["key"] if data["lora"] is None else data["lora"]
            committed = is_plausible(data.get("committed")) or 0.0
            return _Training(committed, request_id, str(data["user_id"]), str(evidence))
        except (LookupError, TypeError):
            return None

    def _read_answer(self, request_id: str) -> Json | None:
        """Return the data of an answer with code OK; None if there is none."""
        key = keys.result("train", request_id)
        try:
            if self._bucket.head(key) is None:
                return None
            envelope = decode(self._bucket.get(key, LARGEST))
        except StoreUnavailable:
            raise
        except (BucketError, ValueError) as error:
            log.warning("%s is skipped: %s", key, error)
            return None
        data = envelope.get("data")
        return data if envelope.get("code") == "OK" and isinstance(data, dict) else None

    def _try_to_point(self, pointer: str, one: _Training) -> bool:
        try:
            return self._point_to(pointer, one)
        except StoreUnavailable:
            raise
        except BucketError as error:
            log.warning("%s cannot be restored from the training %s: %s", pointer, one.request_id, error)
            return False

    def _point_to(self, pointer: str, one: _Training) -> bool:
        answer = keys.result("train", one.request_id)
        data = self._read_answer(one.request_id)
        if data is None or self._bucket.head(one.evidence) is None:
            return False
        try:
            model = model_of(data)
        except (KeyError, ValidationError) as error:
            log.warning("%s has no usable model: %s", answer, type(error).__name__)
            return False
        self._pointers.swap(pointer, model.model_dump(mode="json"), answer, one.committed)
        if self._bucket.head(answer) is None:  # its user was forgotten just now
            for info in list(self._bucket.list(keys.user(one.user_id))):
                self._bucket.delete(info.key)
            return False
        log.warning("%s was missing and was restored from the training %s", pointer, one.request_id)
        return True
