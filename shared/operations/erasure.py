"""Forgetting a user: everything that a bucket holds of one person goes, and a listing proves it.

| what | why in this order |
|---|---|
| running requests | answered as forgotten and superseded, so that their workers lose the claim and clear up |
| puts of `photog serve` | before the manifests, that it makes of them |
| artifacts, photos, the user's model, notifications, progress | while manifests and answers still say whose they are |
| that manifests fail, then manifests | before the answers: a manifest without an answer would be run again |
| answers, then claims | last, so that an interrupted forgetting finds them by running it again |
| indexes of settled manifests | they are only a saving, and are made again |
| what dead writers left half-written | it may be anybody's: all of it goes |

A photo goes when trainings of this user name it and no request of anybody else does; templates are not of the person
and stay. A portrait of several people goes when one of them is forgotten. A check goes when it names a photo that goes.

One id may stand in manifests of several people: only the first body's claims and answer are stored under it, any other
body has a conflict object. Each goes with the body that it belongs to; a conflict whose manifest is gone goes with the
id. When an id has become free, another's manifest may be served under it while this still sweeps: that is not touched.

What cannot be removed keeps the objects that tell whose it is, so that forgetting again finds it.

A bucket of versions keeps what is deleted or overwritten: all of it counts as there, and goes too
(`buckets/history.py`). Where versions may not be seen or removed, every object that only got hidden remains.

How fast: a bucket is read through two or three times, objects that did not change only once; that is linear, about
0.2 ms an object in a folder, and READERS round trips at once in a store over a network. Requests that run are given one
lease to notice. What a living writer stages at that moment is removed by itself, or within COLLECT_SECONDS of its death
by the next writer. What cannot be read or removed, and what quotes the user's id and cannot be understood, remains and
is told: nothing is skipped in silence.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Set

from shared.buckets import Bucket, BucketError, StoreUnavailable, with_history
from shared.contract import keys
from shared.contract.manifests import encode, failure
from shared.errors import RequestError
from shared.lifecycle.claims import Claims
from shared.operations.user_data import Identity, UserData, UserDataSearch
from shared.settings import Lease

SWEEPS = 3  # a worker that was just about to write may leave something behind the first one
HALF_WRITTEN = "half-written files"  # stands for a key where they cannot be removed
OLD_VERSIONS = "old versions"  # stands for keys where they are kept and cannot be seen


class ErasureReport(RequestError):
    """The request's user was forgotten while it ran."""


class Erasure:
    """Finds and removes what one bucket holds of users."""

    def __init__(
        self,
        bucket: Bucket,
        lease: Lease,
        wait: Callable[[float], None] = time.sleep,
        named: Mapping[str, str] | None = None,
    ) -> None:
        """named: addresses of the buckets that references may name; a store's own name is known."""
        self._lease, self._wait = lease, wait
        self._stuck: dict[str, str] = {}
        self._unseen, self._hidden = "", set[str]()
        try:
            self._bucket = with_history(bucket)
        except StoreUnavailable:
            raise
        except BucketError as error:
            self._bucket, self._unseen = bucket, str(error)
        self._search = UserDataSearch(self._bucket, lease, named or {})

    def forget(self, user_id: str) -> list[str]:
        """Remove everything of the user that can be; the removed keys and half-written files, sorted.

        InvalidKey for what is no id; StoreUnavailable where the store goes away: forget again.
        """
        removed: set[str] = set()
        for _ in range(SWEEPS):
            held = self.holdings(user_id)
            if not held.keys:
                break
            self._supersede(held.running)
            if held.running:
                held = self.holdings(user_id)
            removed |= self._delete(held.keys, held.needs)
        if removed:
            removed |= self._delete(self._search.indexes(), {})
        if self._unseen:
            removed.clear()  # hidden, and no more than that
        return sorted(removed | self._collect(user_id))

    def holdings(self, user_id: str) -> UserData:
        """Everything of the user that is there now; empty when nothing is. InvalidKey for what is no id."""
        held = self._search.find(user_id)
        held.faults |= {key: why for key, why in self._stuck.items() if key in {HALF_WRITTEN, *held.keys}}
        if self._unseen:
            held.faults |= dict.fromkeys(self._hidden, "its old versions remain") | {OLD_VERSIONS: self._unseen}
        return held

    def _supersede(self, running: list[Identity]) -> None:
        """Take the requests from their workers, and give these the time to notice and clear up."""
        for identity in running:
            self._take(identity)
        if running:
            self._wait(self._lease.seconds)

    def _take(self, identity: Identity) -> None:
        function, request_id = identity
        error = ErasureReport("the user of this request was forgotten while it ran")
        envelope = encode(failure(request_id, error, {"cost_time": 0.0}))
        claims = Claims(self._bucket, function, self._lease, "forgetting")
        self._try(keys.result(function, request_id), lambda key: self._bucket.put_if_absent(key, envelope))
        self._try(keys.claims(function, request_id), lambda _: claims.supersede(request_id))

    def _delete(self, keys: Iterable[str], needs: Mapping[str, Iterable[Set[str]]]) -> set[str]:
        """Remove objects in order, but for those that need what did not go; those that went."""
        removed: set[str] = set()
        kept: set[str] = set()
        for key in keys:
            if all(before.isdisjoint(kept) for before in needs.get(key, ())) and self._try(key, self._bucket.delete):
                removed.add(key)
                self._hidden.add(key)
            else:
                kept.add(key)
        return removed

    def _collect(self, user_id: str) -> set[str]:
        """Remove half-written files; their names."""
        folders = [keys.result_folder(function, request_id) for function, request_id in self._search.known(user_id)]
        found: set[str] = set()
        self._try(HALF_WRITTEN, lambda _: found.update(self._bucket.collect(folders)))
        return found

    def _try(self, key: str, change: Callable[[str], object]) -> bool:
        """Whether the change was made; else why it was not is kept in mind, and the others go on."""
        self._stuck.pop(key, None)
        try:
            change(key)
        except StoreUnavailable:
            raise
        except BucketError as error:
            self._stuck[key] = str(error)
            return False
        return True
