"""The templates: those of the bucket's folder and the viewer's own, of which one or several are chosen."""

import time
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath

from nicegui import events, ui

from page import texts
from page.cast import THIS_PERSON, Cast
from page.studio import Studio
from page.widgets import announce, ask, card, picture
from shared.contract.manifests import NOBODY

MOST_OWN = 20


class TemplateSection:
    """The card with the templates.

    Args:
        on_change: called when another choice was made.
    """

    def __init__(self, studio: Studio, on_change: Callable[[], None]) -> None:
        self._studio, self._on_change = studio, on_change
        self._tiles: dict[str, ui.element] = {}
        self._names: dict[str, str] = {}
        self._casts: dict[str, Cast] = {}
        self._persons: dict[str, str] = {THIS_PERSON: texts.THIS_PERSON}
        self.chosen: list[str] = []
        limit = studio.settings.limits.photo_bytes
        with card(texts.TEMPLATE, texts.TEMPLATE_HINT, "templates"):
            self._grid = ui.element("div").classes("template-grid")
            self._grid.props["role"] = "group"
            self._grid.props["aria-label"] = texts.TEMPLATE
            self._none = ui.label(texts.NO_TEMPLATES).classes("hint")
            ui.upload(
                multiple=True,
                auto_upload=True,
                max_file_size=limit,
                max_files=MOST_OWN,
                label=texts.DROP_TEMPLATE,
                on_upload=self._take,
                on_rejected=lambda: announce(texts.refused_files(limit), "warning"),
            ).props('accept="image/*,.heic,.heif" flat').classes("upload-small")
            self._area = ui.element("div").classes("casts")
            self._warning = ui.label("").classes("advice")
            self._warning.props["aria-live"] = "polite"

    async def fill(self) -> None:
        """Show the bucket's templates."""
        for key in await ask(self._studio.templates) or []:
            self._add(key, PurePosixPath(key).stem)

    async def choose(self, key: str) -> None:
        """Choose one template and no other."""
        self._add(key, PurePosixPath(key).stem)
        for other in [one for one in self.chosen if one != key]:
            await self._toggle(other)
        if key not in self.chosen:
            await self._toggle(key)

    def set_persons(self, known: Sequence[str], name: str) -> None:
        """Say who may take a face: the person of this screen, and those whom the bucket knows."""
        others = {one: one for one in known if one != name}
        self._persons = {THIS_PERSON: texts.this_person(name)} | others | {NOBODY: texts.KEEP_FACE}
        for cast in self._casts.values():
            cast.set_persons(self._persons)

    def takers(self, template: str) -> list[str]:
        """Return who takes each face of a chosen template: THIS_PERSON, a user_id, or NOBODY."""
        return self._casts[template].choices()

    def waiting(self) -> bool:
        """Return whether it is not known yet how many faces a chosen template has."""
        return any(self._casts[key].waits(time.monotonic()) for key in self.chosen)

    def tick(self) -> None:
        """Show the faces that were found since the last call."""
        for cast in list(self._casts.values()):
            cast.tick()
        empty = any(self._casts[key].is_empty() for key in self.chosen)
        self._warning.set_text(texts.EMPTY_TEMPLATE if empty else "")

    async def _take(self, event: events.UploadEventArguments) -> None:
        key = await ask(self._studio.add_picture, event.file.name, await event.file.read())
        if key is None:
            return
        self._add(key, PurePosixPath(event.file.name).stem, first=True)
        if key not in self.chosen:
            await self._toggle(key)

    def _add(self, key: str, name: str, first: bool = False) -> None:
        if key in self._tiles:
            return
        self._none.set_visibility(False)
        with self._grid:
            tile = ui.element("button").classes("template").on("click", lambda: self._toggle(key))
            tile.props.update({"type": "button", "aria-pressed": "false", "aria-label": texts.template_label(name)})
            with tile:
                picture(key, "", 320)
        if first:
            tile.move(self._grid, 0)
        self._tiles[key], self._names[key] = tile, name

    async def _toggle(self, key: str) -> None:
        begun = None
        if key in self.chosen:
            self.chosen.remove(key)
            self._casts.pop(key).root.delete()
        else:
            self.chosen.append(key)
            with self._area:
                begun = self._casts[key] = Cast(self._studio, key, self._names[key], self._persons, self._on_change)
        self._tiles[key].props["aria-pressed"] = "true" if key in self.chosen else "false"
        self._tiles[key].update()
        if begun is not None:
            await begun.begin(time.monotonic())
        self._on_change()
