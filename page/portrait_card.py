"""One portrait on its way: waiting, progress, and then the picture beside its template, or why there is none."""

from collections.abc import Callable
from typing import Any

from nicegui import ui

from page import texts
from page.following import Seen
from page.studio import Studio
from page.widgets import ask, compare, heading, icon_button, picture, picture_url
from shared.contract.manifests import Json, is_canceled
from shared.errors import AnotherPerson

HINT_SECONDS = 8.0  # without progress, after which the viewer is told about workers


class PortraitCard:
    """One request's card.

    Args:
        body: what was sent.
        on_again: called with the body to set the form to the same settings.
        on_replace: called with the body where its photos show somebody else than the person of the name, and the viewer
            wants them to replace the person.
    """

    def __init__(
        self,
        studio: Studio,
        number: int,
        request_id: str,
        body: Json,
        on_again: Callable[[Json], Any],
        on_replace: Callable[[Json], Any],
    ) -> None:
        self._studio, self._request_id, self._body = studio, request_id, body
        self._on_again, self._on_replace = on_again, on_replace
        self.finished, self._number = False, number
        with ui.element("article").classes("portrait") as self.root:
            self.root.props["aria-label"] = texts.portrait_of(number, None)
            with ui.element("div").classes("portrait-wait") as self._wait:
                shown = picture(str(body["template_image"]), texts.BEFORE, 640).classes("portrait-ghost")
                shown.props["aria-hidden"] = "true"
                with ui.element("div").classes("portrait-progress"):
                    self._stage = ui.label(texts.WAITING).classes("stage")
                    self._stage.props["aria-live"] = "polite"
                    self._bar = ui.linear_progress(0, show_value=False, size="6px").props("rounded instant-feedback")
                    self._bar.props["aria-label"] = texts.PROGRESS
                    self._left = ui.label("").classes("hint")
                    ui.button(texts.STOP, on_click=self._stop, color=None).props("outline dense no-caps").classes(
                        "stop"
                    )

    def tick(self, now: float) -> bool:
        """Show what is new; returns whether the portrait has just been finished."""
        if self.finished:
            return False
        seen = self._studio.follower.look("generate", self._request_id)
        if seen.answer is None:
            show_progress(seen, self._stage, self._bar, self._left, now, self._studio.supervisor is not None)
            return False
        self.finished = True
        self._wait.delete()
        with self.root:
            if seen.answer.get("code") == "OK":
                self._show(seen.answer["data"])
            else:
                show_error(seen.answer, lambda: self._on_replace(self._body))
        return True

    async def _stop(self) -> None:
        await ask(self._studio.cancel, "generate", self._request_id)

    def _show(self, data: Json) -> None:
        compare(str(self._body["template_image"]), str(data["image_key"]))
        with ui.element("div").classes("portrait-foot"):
            with ui.element("div").classes("likeness"):
                for face in data.get("faces", []):
                    _show_likeness(face)
                ui.label(texts.seed_text(data.get("seed", 0))).classes("hint")
            with ui.element("div").classes("actions"):
                whole = ui.button(texts.FULL_SIZE, icon="zoom_in", on_click=lambda: self._show_full(data))
                whole.props("flat no-caps")
                again = ui.button(texts.AGAIN, icon="tune", on_click=lambda: self._on_again(self._used(data)))
                again.props("flat no-caps")
                save = ui.element("a").classes("download")
                save.props["href"] = picture_url(str(data["image_key"]), download=f"portrait-{self._request_id}.png")
                save.props["download"] = f"portrait-{self._request_id}.png"
                with save:
                    ui.icon("download")
                    ui.label(texts.DOWNLOAD)
        for warning in data.get("warnings") or []:
            ui.label(texts.warning(str(warning))).classes("advice")
        if stages := data.get("stages"):
            _show_stages(stages)

    def _show_full(self, data: Json) -> None:
        """Show both pictures over the whole window, each pixel as it is."""
        with ui.dialog().props("maximized") as dialog, ui.element("div").classes("full"):
            with ui.element("div").classes("full-frame"):
                compare(str(self._body["template_image"]), str(data["image_key"]))
            close = icon_button("close", texts.CLOSE, dialog.close)
            close.classes("full-close").props("autofocus")
        dialog.on("hide", dialog.delete)
        dialog.open()

    def _used(self, data: Json) -> Json:
        """Return the body with the seed that was used."""
        return self._body | {"configure": self._body["configure"] | {"seed": data.get("seed")}}


def show_progress(
    seen: Seen, stage: ui.label, bar: ui.linear_progress, left: ui.label, now: float, own_workers: bool
) -> None:
    """Show how far a request is.

    Args:
        own_workers: whether the page has workers of its own, so that one will begin.
    """
    if seen.progress is None:
        if now - seen.begun > HINT_SECONDS:
            left.set_text(texts.BUSY_WORKER if own_workers else texts.NO_WORKER)
        return
    steps = max(1, int(seen.progress["steps"]))
    stage.set_text(texts.stage_name(str(seen.progress["stage"])))
    bar.set_value(min(1.0, int(seen.progress["step"]) / steps))
    eta = seen.progress.get("eta_seconds")
    left.set_text("" if eta is None else texts.seconds_left(float(eta)))


def show_error(answer: Json, on_replace: Callable[[], Any]) -> None:
    """Show why a request failed and what to do; the worker's own words, which are for programmers, are folded up.

    Args:
        on_replace: called if the photos showed somebody else, and the viewer wants them to replace the person.
    """
    kind = str(((answer.get("data") or {}).get("error") or {}).get("type"))
    title, advice = texts.FAILURES.get(kind, (texts.STATE_NAMES["failed"], texts.FAILED_ADVICE))
    with ui.element("div").classes("failure"):
        ui.icon("error_outline").props('aria-hidden="true"')
        with ui.element("div"):
            heading(title, 3)
            ui.label(advice).classes("advice")
            if kind == AnotherPerson.__name__:
                ui.button(texts.REPLACE_PERSON, on_click=on_replace, color=None).props("outline dense no-caps")
            if not is_canceled(answer):
                with ui.element("details"):
                    with ui.element("summary").classes("hint"):
                        ui.label(texts.DETAILS)
                    ui.label(texts.sentence(str(answer.get("message", "")))).classes("hint")


def _show_likeness(face: Json) -> None:
    similarity = face.get("similarity")
    after = similarity.get("after") if isinstance(similarity, dict) else similarity
    if not isinstance(after, int | float):
        return
    with ui.element("div").classes("likeness-line"):
        ui.label(f"{after:.2f}").classes("likeness-figure")
        with ui.element("div"):
            ui.label(texts.LIKENESS_LABEL + (f" · {face['user_id']}" if face.get("user_id") else ""))
            ui.label(texts.likeness(float(after))).classes("hint")


def _show_stages(stages: Json) -> None:
    with ui.expansion(texts.STAGES).classes("stages"), ui.element("div").classes("stage-grid"):
        for name, key in stages.items():
            with ui.element("figure"):
                link = ui.element("a")
                link.props.update({"href": picture_url(str(key)), "target": "_blank", "rel": "noopener"})
                with link:
                    picture(str(key), name, 640)
                with ui.element("figcaption"):
                    ui.label(texts.stage_name(name.partition("-")[2] or name))
