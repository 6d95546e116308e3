"""Erasure of a user: everything that a bucket holds of one person is removed, and a listing proves it.

| what | why in this order |
|---|---|
| running requests | answered as forgotten and superseded, so that their workers lose the claim and clear up |
| puts of `photog serve` | before the manifests that it makes from them |
| artifacts, photos, the user's model, notifications, progress | while manifests and answers still say whose they are |
| records of failing manifests, then manifests | before the answers: a manifest without an answer would be run again |
| answers, then claims | last, so that an interrupted erasure finds them when it is run again |
| indexes of settled manifests | they only save time, and are made again |
| half-written data of dead writers | it may be anybody's: all of it is removed |

A photo is removed if it was uploaded for this user, or if requests of this user name it and no other person's request
does; templates are not the person's and stay, unless they were uploaded for the user. A portrait of several people is
removed if one of them is forgotten. A check is removed if it names the user, or a photo that is removed. A request that
no worker reads, because of where it lies, was never served: it is removed by itself, and nothing that is stored under
its id.

One id may appear in manifests of several people: only the first body's claims and answer are stored under it, any other
body has a conflict object. Each is removed with the body that it belongs to; a conflict whose manifest is gone is
removed with the id. Once an id is free, another person's manifest may be served under it while erasure still runs: that
one is not touched.

If something cannot be removed, the objects that say whose it is are kept, so that the next erasure finds it.

A versioned bucket keeps what is deleted or overwritten: all versions count as present, and are removed too
(`buckets/history.py`). If versions may not be listed or removed, every object that is only hidden is reported.

Speed: a bucket is read two or three times, unchanged objects only once. The time is linear: about 0.2 ms per object in
a folder, and READERS concurrent round trips in a store over a network. Running requests get one lease to notice. Data
that a living writer is staging at that moment is removed by that writer, or by the next one within COLLECT_SECONDS of
its death. What cannot be read or removed, and what quotes the user's id but cannot be understood, remains and is
reported: nothing is skipped silently.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Set

from shared.buckets import Bucket, BucketError, StoreUnavailable, with_history
from shared.contract import keys
from shared.contract.manifests import encode, failure
from shared.errors import Forgotten, PhotogError
from shared.lifecycle.claims import Claims
from shared.operations.user_data import UNOWNED, Identity, UserData, UserDataSearch
from shared.settings import Lease

SWEEPS = 3  # a worker that was about to write may leave something behind after the first one
HALF_WRITTEN = "half-written files"  # reported in place of a key if they cannot be removed
OLD_VERSIONS = "old versions"  # reported in place of keys if they are kept but cannot be listed


class OwnedPhoto(PhotogError):
    """A photo that belongs to nobody was to be removed, but it is a person's."""


class Erasure:
    """Finds and removes what one bucket holds of users."""

    def __init__(
        self,
        bucket: Bucket,
        lease: Lease,
        wait: Callable[[float], None] = time.sleep,
        named: Mapping[str, str] | None = None,
    ) -> None:
        """Search a bucket.

        Args:
            wait: sleeps for some seconds.
            named: addresses of the buckets that references may name, besides the store's own name.
        """
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
        """Remove everything of the user that can be removed; returns the removed keys and half-written files, sorted.

        Raises InvalidKey for an invalid id, and StoreUnavailable if the store becomes unavailable: then run erasure
        again.
        """
        return self._remove(lambda: self.holdings(user_id), user_id)

    def forget_photos(self, photos: Set[str]) -> list[str]:
        """Remove photos that belong to nobody, with the requests that name only nobody's; returns what was removed.

        Raises OwnedPhoto before anything is removed if a person's request names one of them.
        """
        return self._remove(lambda: self.find_unowned(photos), UNOWNED)

    def find_unowned(self, photos: Set[str]) -> UserData:
        """Return what `forget_photos` would remove now; raises OwnedPhoto."""
        held, owners = self._search.find_unowned(photos)
        if owners:
            key, user = min(owners.items())
            raise OwnedPhoto(f"{key} is a photo of {user}: forget {user}, and it goes too")
        return self._add_faults(held)

    def _remove(self, find: Callable[[], UserData], user_id: str) -> list[str]:
        removed: set[str] = set()
        for _ in range(SWEEPS):
            held = find()
            if not held.keys:
                break
            self._supersede(held.running)
            if held.running:
                held = find()
            removed |= self._delete(held.keys, held.needs)
        if removed:
            removed |= self._delete(self._search.indexes(), {})
        if self._unseen:
            removed.clear()  # only hidden, not removed
        return sorted(removed | self._collect(user_id))

    def holdings(self, user_id: str) -> UserData:
        """Return everything of the user that exists now, if anything; raises InvalidKey for an invalid id."""
        return self._add_faults(self._search.find(user_id))

    def _add_faults(self, held: UserData) -> UserData:
        held.faults |= {key: why for key, why in self._stuck.items() if key in {HALF_WRITTEN, *held.keys}}
        if self._unseen:
            held.faults |= dict.fromkeys(self._hidden, "its old versions remain") | {OLD_VERSIONS: self._unseen}
        return held

    def _supersede(self, running: list[Identity]) -> None:
        """Take the requests from their workers, and give these time to notice and clear up."""
        for identity in running:
            self._take(identity)
        if running:
            self._wait(self._lease.seconds)

    def _take(self, identity: Identity) -> None:
        function, request_id = identity
        error = Forgotten("the user of this request was forgotten while it ran")
        envelope = encode(failure(request_id, error, {"cost_time": 0.0}))
        claims = Claims(self._bucket, function, self._lease, "forgetting")
        self._try(keys.result(function, request_id), lambda key: self._bucket.put_if_absent(key, envelope))
        self._try(keys.claims(function, request_id), lambda _: claims.supersede(request_id))

    def _delete(self, keys: Iterable[str], needs: Mapping[str, Iterable[Set[str]]]) -> set[str]:
        """Remove objects in order, except those that need others gone first that remain; returns the removed keys."""
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
        """Remove half-written files and return their names."""
        folders = [
            keys.result_folder(function, request_id) for function, request_id in self._search.list_found(user_id)
        ]
        found: set[str] = set()
        self._try(HALF_WRITTEN, lambda _: found.update(self._bucket.collect(folders)))
        return found

    def _try(self, key: str, change: Callable[[str], object]) -> bool:
        """Make a change and return whether it succeeded; if not, the reason is recorded and the others go on."""
        self._stuck.pop(key, None)
        try:
            change(key)
        except StoreUnavailable:
            raise
        except BucketError as error:
            self._stuck[key] = str(error)
            return False
        return True
