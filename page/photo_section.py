"""The photos of a person: uploaded, each checked by itself at once, then all compared, and shown from best to worst."""

from collections.abc import Callable
from dataclasses import dataclass

from nicegui import events, ui

from page import texts
from page.drafts import DroppedPhoto
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
class _Tile:
    """Where one photo is shown."""

    photo: DroppedPhoto
    root: ui.element
    picture: ui.element
    body: ui.element


class PhotoSection:
    """The card with the photos.

    Args:
        on_change: called when which photos are usable may have changed.
    """

    def __init__(self, studio: Studio, on_change: Callable[[], None]) -> None:
        self._studio, self._on_change = studio, on_change
        self.draft = studio.drafts.begin()
        self._client = ui.context.client
        self._client.on_connect(self._connected)
        self._client.on_delete(lambda: studio.drafts.close(self.draft))
        self._tiles: list[_Tile] = []
        self._comparison: tuple[str, list[_Tile]] | None = None
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
            self._upload.disable()  # until there is a connection: a browser that gets none loads the page anew
            self._count = ui.label("").classes("hint")
            self._count.props["aria-live"] = "polite"
            self._grid = ui.element("div").classes("photo-grid")
            self._grid.props["role"] = "list"

    def usable(self) -> list[str]:
        """Return keys of the usable photos, the best first."""
        return [one.photo.key for one in self._sorted() if _is_usable(one.photo)]

    def any(self) -> bool:
        """Return whether there is any photo."""
        return bool(self._tiles)

    def waiting(self) -> bool:
        """Return whether a verdict is missing."""
        return any(one.photo.verdict is None for one in self._tiles)

    async def _connected(self) -> None:
        """Take photos from now on, and show again those that this tab had before it was loaded anew."""
        self._upload.enable()
        there = {one.photo.content for one in self._tiles}  # if the tab comes back to this very page
        resumed = self._studio.drafts.resume(self.draft, self._client.tab_id or "")
        found = [one for one in resumed if one.content not in there]
        for photo in found:
            tile = self._show(photo)
            if photo.verdict is not None:
                self._show_verdict(tile, photo.verdict)
        if found:
            self._arrange()
            await self._compare()
            self._changed()

    async def _take(self, event: events.UploadEventArguments) -> None:
        name, data = event.file.name, await event.file.read()
        if len(self._tiles) >= MOST_PHOTOS:
            announce(texts.tell_rejected(name, texts.PHOTOS_HINT), "warning")
            return
        key = await ask(self._studio.add_picture, name, data, self.draft)
        if key is None or any(one.photo.content == key.rpartition("/")[2] for one in self._tiles):
            return
        request_id = await ask(self._studio.check, self.draft, [key])
        if request_id is None:
            return
        self._comparison = None
        photo = DroppedPhoto(name, key, request_id)
        self.draft.shown.append(photo)
        self._show(photo)
        self._changed()

    def _show(self, photo: DroppedPhoto) -> _Tile:
        with self._grid:
            root = ui.element("figure").classes("photo")
            root.props["role"] = "listitem"
        with root:
            shown = picture(photo.key, photo.name, 320)
            with ui.element("figcaption") as body:
                ui.label(texts.CHECKING).classes("badge badge-wait")
        tile = _Tile(photo, root, shown, body)
        with root:
            icon_button("close", texts.remove_photo(photo.name), lambda: self._remove(tile)).classes("photo-remove")
        shown.classes("photo-picture")
        self._tiles.append(tile)
        return tile

    def _remove(self, tile: _Tile) -> None:
        self._tiles.remove(tile)
        self._studio.drafts.release(self.draft, tile.photo)
        tile.root.delete()
        self._comparison = None
        self._changed()

    async def adopt(self, user_id: str) -> bool:
        """Make all photos a person's own, so that forgetting takes them; returns whether that could be done."""
        adopted = await ask(self._studio.drafts.adopt, self.draft, user_id, [one.photo.key for one in self._tiles])
        for tile in self._tiles:
            own = (adopted or {}).get(tile.photo.key, tile.photo.key)  # none of a photo that was dropped meanwhile
            if own != tile.photo.key:
                tile.photo.key = own
                tile.picture.props["src"] = picture_url(tile.photo.key, 320)
                tile.picture.update()
        return adopted is not None

    async def tick(self) -> None:
        """Show the verdicts that have come since the last call, and compare the photos when all have one."""
        changed = False
        for tile in self._tiles:
            if tile.photo.verdict is None:
                answer = self._studio.follower.look("check", tile.photo.request_id).answer
                if answer is not None:
                    self._judge(tile, _result(answer, 0))
                    changed = True
        if self._comparison is not None:
            changed |= self._read_comparison(*self._comparison)
        if changed:
            self._arrange()
            await self._compare()
            self._changed()

    async def _compare(self) -> None:
        """Ask whether all usable photos show one person, once all are judged."""
        usable = [one for one in self._tiles if _is_usable(one.photo)]
        if self.waiting() or len(usable) < 2 or self._comparison is not None:
            return
        if self.draft.compared == {one.photo.content for one in usable}:
            return
        usable.sort(key=lambda one: one.photo.content)
        request_id = await ask(self._studio.check, self.draft, [one.photo.key for one in usable], True)
        self._comparison = None if request_id is None else (request_id, usable)

    def _read_comparison(self, request_id: str, compared: list[_Tile]) -> bool:
        answer = self._studio.follower.look("check", request_id).answer
        if answer is None:
            return False
        self._comparison = None
        self.draft.compared = {one.photo.content for one in compared}
        for number, tile in enumerate(compared):
            result = _result(answer, number)
            if result.get("code") == STRANGER:
                self._judge(tile, result)
        return True

    def _judge(self, tile: _Tile, result: Json) -> None:
        tile.photo.verdict = read_verdict(result)
        self._show_verdict(tile, tile.photo.verdict)

    def _show_verdict(self, tile: _Tile, verdict: Verdict) -> None:
        square = crop_square(verdict)
        tile.root.classes(add="photo-usable" if verdict.usable else "photo-unusable")
        tile.root.style(f"--across:{square.across:.1f}%;--down:{square.down:.1f}%")
        tile.body.clear()
        if square.whole:
            tile.root.classes(add="photo-whole")
        with tile.root:
            for box in square.boxes:
                frame = ui.element("div").classes("photo-box")
                frame.props["aria-hidden"] = "true"
                frame.style(";".join(f"--{side}:{value:.2f}%" for side, value in box.items()))
        with tile.body:
            kind = "good" if verdict.title == texts.GOOD else "fair" if verdict.usable else "bad"
            ui.label(verdict.title).classes(f"badge badge-{kind}")
            if verdict.advice:
                ui.label(verdict.advice).classes("advice")

    def _arrange(self) -> None:
        for number, tile in enumerate(self._sorted()):
            tile.root.move(self._grid, number)

    def _sorted(self) -> list[_Tile]:
        def rank(one: _Tile) -> tuple[bool, bool, float]:
            verdict = one.photo.verdict
            return verdict is None, not _is_usable(one.photo), -(verdict.quality if verdict else 0.0)

        return sorted(self._tiles, key=rank)

    def _changed(self) -> None:
        judged = [one for one in self._tiles if one.photo.verdict is not None]
        self._count.set_text(texts.photo_count(len(self.usable()), len(self._tiles)) if judged else "")
        self._on_change()


def _is_usable(photo: DroppedPhoto) -> bool:
    return photo.verdict is not None and photo.verdict.usable


def _result(answer: Json, number: int) -> Json:
    """Return one photo's entry of an answer; for an error answer one that says so."""
    found = (answer.get("data") or {}).get("check_results")
    if isinstance(found, list) and len(found) > number and isinstance(found[number], dict):
        return dict(found[number])
    return {"code": 0, "warnings": [str(answer.get("message", ""))]}
