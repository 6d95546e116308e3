"""The photos of a person: uploaded, each checked by itself at once, then all compared, and shown from best to worst."""

from collections.abc import Callable
from dataclasses import dataclass

from nicegui import events, ui

from page import texts
from page.studio import Studio
from page.verdict import Verdict, crop_square, read_verdict
from page.widgets import announce, ask, card, icon_button, picture, picture_url
from shared.contract.manifests import Json

MOST_PHOTOS = 20  # of a check
STRANGER = 6  # code of a photo that shows somebody else
LABEL_INPUTS = """
const label = () => document.querySelectorAll('.q-uploader__input:not([aria-label])').forEach((one) => {
  const text = one.closest('.q-uploader').querySelector('.q-uploader__title').textContent;
  one.setAttribute('aria-label', text);
  one.closest('.q-btn').setAttribute('aria-label', text);
});
new MutationObserver(label).observe(document.querySelector('.inputs'), {childList: true, subtree: true});
label();
"""  # Quasar gives them no label, and makes them anew after each upload


@dataclass(eq=False)
class _Photo:
    """One uploaded photo, its check, and where it is shown."""

    name: str
    key: str
    tile: ui.element
    shown: ui.element
    body: ui.element
    request_id: str
    verdict: Verdict | None = None

    @property
    def content(self) -> str:
        """The name of its content, which it keeps when it becomes a person's."""
        return self.key.rpartition("/")[2]


class PhotoSection:
    """The card with the photos.

    Args:
        on_change: called when which photos are usable may have changed.
    """

    def __init__(self, studio: Studio, on_change: Callable[[], None]) -> None:
        self._studio, self._on_change = studio, on_change
        self.draft = studio.drafts.begin()
        ui.context.client.on_delete(lambda: studio.drafts.close(self.draft))
        self._photos: list[_Photo] = []
        self._comparison: tuple[str, list[_Photo]] | None = None
        self._compared: set[str] = set()  # contents of the photos that were compared last
        limit = studio.settings.limits.photo_bytes
        with card(texts.PHOTOS, texts.PHOTOS_HINT, "photos"):
            self._upload = ui.upload(
                multiple=True,
                auto_upload=True,
                max_file_size=limit,
                max_files=MOST_PHOTOS * 5,
                label=texts.DROP,
                on_upload=self._take,
                on_rejected=lambda: announce(texts.refused_files(limit), "warning"),
            ).props('accept="image/*,.heic,.heif" flat')
            self._count = ui.label("").classes("hint")
            self._count.props["aria-live"] = "polite"
            self._grid = ui.element("div").classes("photo-grid")
            self._grid.props["role"] = "list"

    def usable(self) -> list[str]:
        """Return keys of the usable photos, the best first."""
        return [one.key for one in self._sorted() if one.verdict is not None and one.verdict.usable]

    def any(self) -> bool:
        """Return whether there is any photo."""
        return bool(self._photos)

    def waiting(self) -> bool:
        """Return whether a verdict is missing."""
        return any(one.verdict is None for one in self._photos)

    async def _take(self, event: events.UploadEventArguments) -> None:
        name, data = event.file.name, await event.file.read()
        if len(self._photos) >= MOST_PHOTOS:
            announce(texts.tell_rejected(name, texts.PHOTOS_HINT), "warning")
            return
        key = await ask(self._studio.add_picture, name, data, self.draft)
        if key is None or any(one.content == key.rpartition("/")[2] for one in self._photos):
            return
        request_id = await ask(self._studio.check, self.draft, [key])
        if request_id is None:
            return
        self._comparison = None
        with self._grid:
            tile = ui.element("figure").classes("photo")
            tile.props["role"] = "listitem"
        with tile:
            shown = picture(key, name, 320)
            with ui.element("figcaption") as body:
                ui.label(texts.CHECKING).classes("badge badge-wait")
        with tile:
            photo = _Photo(name, key, tile, shown, body, request_id)
            icon_button("close", texts.remove_photo(name), lambda: self._remove(photo)).classes("photo-remove")
        shown.classes("photo-picture")
        self._photos.append(photo)
        self._changed()

    def _remove(self, photo: _Photo) -> None:
        self._photos.remove(photo)
        self._studio.drafts.release(self.draft, photo.key)
        photo.tile.delete()
        self._comparison = None
        self._changed()

    async def adopt(self, user_id: str) -> bool:
        """Make all photos a person's own, so that forgetting takes them; returns whether that could be done."""
        adopted = await ask(self._studio.drafts.adopt, self.draft, user_id, [one.key for one in self._photos])
        for photo in self._photos:
            if adopted and adopted[photo.key] != photo.key:
                photo.key = adopted[photo.key]
                photo.shown.props["src"] = picture_url(photo.key, 320)
                photo.shown.update()
        return adopted is not None

    async def tick(self) -> None:
        """Show the verdicts that have come since the last call, and compare the photos when all have one."""
        changed = False
        for photo in self._photos:
            if photo.verdict is None:
                answer = self._studio.follower.look("check", photo.request_id).answer
                if answer is not None:
                    self._judge(photo, _result(answer, 0))
                    changed = True
        if self._comparison is not None:
            changed |= self._read_comparison(*self._comparison)
        if changed:
            self._arrange()
            await self._compare()
            self._changed()

    async def _compare(self) -> None:
        """Ask whether all usable photos show one person, once all are judged."""
        usable = [one for one in self._photos if one.verdict is not None and one.verdict.usable]
        if any(one.verdict is None for one in self._photos) or len(usable) < 2 or self._comparison is not None:
            return
        if self._compared == {one.content for one in usable}:
            return
        self._compared = {one.content for one in usable}
        usable.sort(key=lambda one: one.content)
        request_id = await ask(self._studio.check, self.draft, [one.key for one in usable], True)
        self._comparison = None if request_id is None else (request_id, usable)

    def _read_comparison(self, request_id: str, compared: list[_Photo]) -> bool:
        answer = self._studio.follower.look("check", request_id).answer
        if answer is None:
            return False
        self._comparison = None
        for number, photo in enumerate(compared):
            result = _result(answer, number)
            if result.get("code") == STRANGER:
                self._judge(photo, result)
        return True

    def _judge(self, photo: _Photo, result: Json) -> None:
        verdict = photo.verdict = read_verdict(result)
        square = crop_square(verdict)
        photo.tile.classes(add="photo-usable" if verdict.usable else "photo-unusable")
        photo.tile.style(f"--across:{square.across:.1f}%;--down:{square.down:.1f}%")
        photo.body.clear()
        if square.whole:
            photo.tile.classes(add="photo-whole")
        with photo.tile:
            for box in square.boxes:
                frame = ui.element("div").classes("photo-box")
                frame.props["aria-hidden"] = "true"
                frame.style(";".join(f"--{side}:{value:.2f}%" for side, value in box.items()))
        with photo.body:
            kind = "good" if verdict.title == texts.GOOD else "fair" if verdict.usable else "bad"
            ui.label(verdict.title).classes(f"badge badge-{kind}")
            if verdict.advice:
                ui.label(verdict.advice).classes("advice")

    def _arrange(self) -> None:
        for number, photo in enumerate(self._sorted()):
            photo.tile.move(self._grid, number)

    def _sorted(self) -> list[_Photo]:
        def rank(one: _Photo) -> tuple[bool, bool, float]:
            usable = one.verdict is not None and one.verdict.usable
            return one.verdict is None, not usable, -(one.verdict.quality if one.verdict else 0.0)

        return sorted(self._photos, key=rank)

    def _changed(self) -> None:
        judged = [one for one in self._photos if one.verdict is not None]
        self._count.set_text(texts.photo_count(len(self.usable()), len(self._photos)) if judged else "")
        self._on_change()


def _result(answer: Json, number: int) -> Json:
    """Return one photo's entry of an answer; for an error answer one that says so."""
    found = (answer.get("data") or {}).get("check_results")
    if isinstance(found, list) and len(found) > number and isinstance(found[number], dict):
        return dict(found[number])
    return {"code": 0, "warnings": [str(answer.get("message", ""))]}
