"""The photos of a tab before it is known whose they are, below a prefix of its own: `photos/<draft>/`.

| what happens | its photos | its checks |
|---|---|---|
| a request names a person | are copied to `users/<user_id>/photos/`, all of them, so that forgetting takes them | go |
| a photo is removed from the tab, or the tab is closed | go | go |
| the tab is loaded anew, or comes back from another screen in time | stay, and are shown again | stay |
| a portrait without a name is made | stay until it is answered | stay |
| the server dies before that | stay until `photog prune` | stay likewise |

What goes is removed once no request of the draft that names it is unanswered. So without a name nothing stays of a
person but the portrait, and with one everything lies under it.
"""

import asyncio
import logging
import threading
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

from page import texts
from page.verdict import Verdict
from shared.buckets import Bucket, BucketError
from shared.contract import keys
from shared.errors import RequestError
from shared.operations.client import Client
from shared.operations.disposal import discard_requests

log = logging.getLogger(__name__)

TIDY_SECONDS = 2.0


@dataclass(eq=False)
class DroppedPhoto:
    """A photo that a tab shows.

    Attributes:
        name: of its file.
        key: where it lies now; another one once it is a person's.
        request_id: of its check.
        verdict: None until the check is answered.
    """

    name: str
    key: str
    request_id: str
    verdict: Verdict | None = None

    @property
    def content(self) -> str:
        """The name of its content, which it keeps when it becomes a person's."""
        return self.key.rpartition("/")[2]


@dataclass(eq=False)
class Draft:
    """What one tab has put into the bucket.

    Attributes:
        name: in the keys of its photos; nobody can guess it.
        tab: what the browser calls the tab, also when it is loaded anew; empty until it is connected.
        shown: what the tab shows, with those that are a person's already.
        compared: contents of the shown photos that were compared last.
        photos: keys of those that are there.
        released: those of them that nobody needs any more.
        checks: its checks that are there, each with the photos that it names.
        portraits: its portraits without an answer, likewise.
    """

    name: str = field(default_factory=lambda: uuid.uuid4().hex)
    tab: str = ""
    shown: list[DroppedPhoto] = field(default_factory=list)
    compared: set[str] = field(default_factory=set)
    photos: set[str] = field(default_factory=set)
    released: set[str] = field(default_factory=set)
    checks: dict[str, frozenset[str]] = field(default_factory=dict)
    portraits: dict[str, frozenset[str]] = field(default_factory=dict)
    closed: bool = False


class Drafts:
    """The drafts of all tabs of a server."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket, self._client = bucket, Client(bucket)
        self._lock = threading.Lock()
        self._drafts: list[Draft] = []

    def begin(self) -> Draft:
        """Return the draft of a new tab."""
        draft = Draft()
        with self._lock:
            self._drafts.append(draft)
        return draft

    def resume(self, draft: Draft, tab: str) -> list[DroppedPhoto]:
        """Say which tab a draft belongs to; it takes over what the same tab had before it was loaded anew.

        Returns the photos that the tab showed then and does not show now. A tab without a name takes over nothing:
        only the browser's own names are of one tab alone.
        """
        with self._lock:
            draft.tab, draft.closed = tab, False  # it may come back after another took over from it
            self._keep(draft)
            if not tab:
                return []
            earlier = [one for one in self._drafts if one is not draft and one.tab == tab and not one.closed]
            known = {photo.content for photo in draft.shown}
            found = [photo for one in earlier for photo in one.shown if photo.content not in known]
            for one in earlier:
                self._move(one, draft)
            draft.shown += found
        return found

    def _move(self, earlier: Draft, draft: Draft) -> None:
        """Let a draft look after all that another one has, which is closed thereby."""
        draft.photos |= earlier.photos
        draft.released |= earlier.released
        draft.compared |= earlier.compared
        draft.checks |= earlier.checks
        draft.portraits |= earlier.portraits
        self._drafts.remove(earlier)
        earlier.photos, earlier.released, earlier.shown, earlier.closed = set(), set(), [], True
        earlier.checks, earlier.portraits = {}, {}

    def adopt(self, draft: Draft, user_id: str, photos: Sequence[str]) -> dict[str, str]:
        """Copy photos to a person's own, and release those of the draft; returns the new keys by the old ones.

        Raises RequestError for a photo that is gone, as after its person was forgotten in another tab.
        """
        adopted = {}
        for key in photos:
            own = keys.user_photos(user_id) + key.rpartition("/")[2]
            data = self._bucket.find(key)
            if data is None:
                raise RequestError(texts.PHOTO_GONE)
            if own != key:
                self._bucket.put(own, data)
            adopted[key] = own
        with self._lock:
            draft.released |= draft.photos.intersection(photos)
        return adopted

    def note_photo(self, draft: Draft, photo: str) -> None:
        """Say that a tab has uploaded a photo."""
        with self._lock:
            draft.photos.add(photo)
            draft.released.discard(photo)
            self._keep(draft)

    def note_request(self, draft: Draft, function: str, request_id: str, photos: Sequence[str]) -> None:
        """Say that a tab has sent a check, or a portrait without a name, of photos, some of which may be its own."""
        with self._lock:
            if own := draft.photos.intersection(photos):
                (draft.checks if function == "check" else draft.portraits)[request_id] = frozenset(own)
                self._keep(draft)

    def _keep(self, draft: Draft) -> None:
        """Look after a draft also if its tab was closed and its draft done while this photo was on its way."""
        if draft not in self._drafts:
            self._drafts.append(draft)

    def release(self, draft: Draft, photo: DroppedPhoto) -> None:
        """Say that a tab does not show a photo any more."""
        with self._lock:
            draft.shown = [one for one in draft.shown if one is not photo]
            draft.released |= draft.photos & {photo.key}

    def close(self, draft: Draft) -> None:
        """Say that the tab is gone."""
        with self._lock:
            draft.closed = True

    async def run(self) -> None:
        """Remove what nobody needs, until canceled."""
        while True:
            await asyncio.sleep(TIDY_SECONDS)
            if self._due():
                await asyncio.to_thread(self.tidy)

    def tidy(self) -> None:
        """Remove what nobody needs once; what a failing store refuses is tried again later."""
        for draft in self._due():
            try:
                self._tidy_one(draft)
            except (BucketError, OSError) as error:
                log.warning("photos of a closed tab cannot be removed yet: %s", error)

    def end(self) -> None:
        """Close all drafts, as when the server ends, and remove what can be removed now."""
        for draft in list(self._drafts):
            self.close(draft)
        self.tidy()

    def _due(self) -> list[Draft]:
        with self._lock:
            return [one for one in self._drafts if one.released or one.closed]

    def _tidy_one(self, draft: Draft) -> None:
        with self._lock:
            going = set(draft.photos) if draft.closed else set(draft.released)
            checks, portraits = dict(draft.checks), dict(draft.portraits)
        waiting = {one for one in checks if not self._is_answered("check", one)}
        withdrawn = {one for one in waiting if draft.closed and self._withdraw(one)}
        waiting -= withdrawn
        working = {one for one in portraits if not self._is_answered("generate", one)}
        ended = [one for one, photos in checks.items() if photos <= going and one not in waiting | withdrawn]
        gone = withdrawn | {one for _, one in discard_requests(self._bucket, [("check", one) for one in ended])}
        needed = [checks[one] for one in waiting] + [portraits[one] for one in working]
        removed = going.difference(*needed)
        for photo in removed:
            self._bucket.delete(photo)
        with self._lock:
            draft.photos -= removed
            draft.released -= removed
            for one in gone:
                draft.checks.pop(one, None)  # as `end` may tidy beside `run`
            for one in portraits.keys() - working:
                draft.portraits.pop(one, None)
            if draft.closed and not draft.photos and not draft.checks and draft in self._drafts:
                self._drafts.remove(draft)

    def _is_answered(self, function: str, request_id: str) -> bool:
        return self._bucket.head(keys.result(function, request_id)) is not None

    def _withdraw(self, request_id: str) -> bool:
        """Withdraw a check that no worker has begun; returns whether it was."""
        if any(True for _ in self._bucket.list(keys.claims("check", request_id))):
            return False
        self._client.withdraw("check", request_id)
        return True
