"""The templates: those of the bucket's folder and the viewer's own, of which one or several are chosen."""

from collections.abc import Callable
from pathlib import PurePosixPath

from nicegui import events, ui

from page import texts
from page.studio import Studio
from page.widgets import announce, ask, card, picture

MOST_OWN = 20


class TemplateSection:
    """The card with the templates.

    Args:
        on_change: called when another choice was made.
    """

    def __init__(self, studio: Studio, on_change: Callable[[], None]) -> None:
        self._studio, self._on_change = studio, on_change
        self._tiles: dict[str, ui.element] = {}
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

    async def fill(self) -> None:
        """Show the bucket's templates."""
        for key in await ask(self._studio.templates) or []:
            self._add(key, PurePosixPath(key).stem)

    def choose(self, key: str) -> None:
        """Choose one template and no other."""
        self._add(key, PurePosixPath(key).stem)
        for other in list(self.chosen):
            self._toggle(other)
        self._toggle(key)

    async def _take(self, event: events.UploadEventArguments) -> None:
        stored = await ask(self._studio.add_picture, event.file.name, await event.file.read())
        if stored is None:
            return
        self._add(stored.key, PurePosixPath(event.file.name).stem, first=True)
        if stored.key not in self.chosen:
            self._toggle(stored.key)

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
        self._tiles[key] = tile

    def _toggle(self, key: str) -> None:
        if key in self.chosen:
            self.chosen.remove(key)
        else:
            self.chosen.append(key)
        self._tiles[key].props["aria-pressed"] = "true" if key in self.chosen else "false"
        self._tiles[key].update()
        self._on_change()
