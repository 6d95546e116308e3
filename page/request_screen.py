"""One request's whole life for an operator, and the way to send it again."""

import time
from datetime import datetime

from nicegui import ui

from page import texts
from page.request_life import Life, read_life
from page.studio import PICTURE, Studio
from page.widgets import ROOT, announce, ask, card, heading, picture, picture_url
from shared.contract.function import NAMES
from shared.contract.manifests import REQUEST_ID, Json
from shared.contract.visible import visible

REFRESH_SECONDS = 1.0


class RequestScreen:
    """One viewer's view of one request."""

    def __init__(self, studio: Studio, function: str, request_id: str) -> None:
        self._studio, self._function, self._request_id = studio, function, request_id
        self._life: Life | None = None
        back = ui.element("a").classes("back")
        back.props["href"] = f"{ROOT}/operation"
        with back:
            ui.label(f"← {texts.BACK}")
        heading(request_id, 1).classes("mono-title")
        self._content = ui.element("div").classes("life")

    async def fill(self) -> None:
        """Show the request, and keep it up to date until it is answered."""
        if self._function not in NAMES or not REQUEST_ID.fullmatch(self._request_id):
            with self._content:
                ui.label(texts.UNKNOWN_REQUEST)
            return
        await self._refresh()
        self._timer = ui.timer(REFRESH_SECONDS, self._refresh, immediate=False)
        self._end_when_answered()

    async def _refresh(self) -> None:
        entry = self._studio.index.get(self._function, self._request_id)
        limits, key = self._studio.settings.limits, entry.key if entry else ""
        life = await ask(read_life, self._studio.bucket, self._function, self._request_id, key, limits)
        if life == self._life and life is not None:
            return
        self._life = life
        self._content.clear()
        with self._content:
            if life is None:
                ui.label(texts.UNKNOWN_REQUEST)
            else:
                self._show(life)
        self._end_when_answered()

    def _end_when_answered(self) -> None:
        if hasattr(self, "_timer") and self._life is not None and self._life.answer and not self._life.pending:
            self._timer.deactivate()

    def _show(self, life: Life) -> None:
        state = self._state(life)
        with ui.element("div").classes("actions life-actions"):
            ui.label(texts.FUNCTION_NAMES[self._function])
            ui.label(texts.STATE_NAMES[state]).classes(f"badge badge-{state}")
            if life.answer and life.key:
                ui.button(texts.RETRY, icon="replay", on_click=self._retry).props("outline no-caps dense")
            if not life.answer:
                ui.button(texts.STOP, on_click=self._stop, color=None).props("outline no-caps dense").classes("stop")
        with card(texts.MANIFEST, life.key or texts.NO_MANIFEST):
            ui.label(life.manifest).classes("code")
        with card(texts.CLAIMS):
            if not life.claims:
                ui.label(texts.NOTHING).classes("hint")
            with ui.element("ol").classes("plain-list"):
                for claim in life.claims:
                    _show_claim(claim)
        if life.progress is not None:
            with card(texts.PROGRESS):
                _show_progress(life.progress)
        with card(texts.RESULT):
            if life.answer is None:
                ui.label(texts.NOTHING).classes("hint")
            else:
                ui.label(visible(str(life.answer.get("message", "")))).classes("stage")
                ui.label(life.answer_text).classes("code")
        with card(texts.ARTIFACTS):
            _show_files(life)
        with card(texts.EVENTS):
            if life.notification:
                ui.label(texts.tell_delivered(life.notification)).classes("mono")
            ui.label(texts.in_outbox(", ".join(life.pending)) if life.pending else texts.OUTBOX_EMPTY)

    def _state(self, life: Life) -> str:
        if life.answer is None:
            return "running" if life.claims else "waiting"
        return "ok" if life.answer.get("code") == "OK" else "failed"

    async def _retry(self) -> None:
        if self._life is None:
            return
        sent = await ask(self._studio.retry, self._function, self._request_id, self._life.key)
        if sent is not None:
            announce(texts.tell_sent_again(sent), "positive")
            ui.navigate.to(f"{ROOT}/operation/{self._function}/{sent}")

    async def _stop(self) -> None:
        await ask(self._studio.cancel, self._function, self._request_id)
        await self._refresh()


def _show_claim(claim: Json) -> None:
    with ui.element("li"):
        ui.label(texts.attempt(int(claim["attempt"]), str(claim["owner"])))
        began = datetime.fromtimestamp(float(claim["started"])).isoformat(" ", "seconds")
        told = [f"{began}, {texts.ago(time.time() - float(claim['started']))}", texts.beat(claim["beat"])]
        told += [texts.RELEASED] if claim["released"] else []
        told += [str(claim["ended"])] if claim["ended"] else []
        ui.label(" · ".join(told)).classes("hint")


def _show_progress(progress: Json) -> None:
    data = progress.get("data") or {}
    step, steps = data.get("step"), data.get("steps")
    if isinstance(step, int) and isinstance(steps, int):
        ui.label(f"{texts.stage_name(str(data.get('stage')))} {step}/{steps}").classes("stage")
        bar = ui.linear_progress(step / max(1, steps), show_value=False, size="6px").props("rounded")
        bar.props["aria-label"] = texts.PROGRESS
    if isinstance(eta := data.get("eta_seconds"), int | float):
        ui.label(texts.seconds_left(eta)).classes("hint")


def _show_files(life: Life) -> None:
    if not life.files and not life.conflicts:
        ui.label(texts.NOTHING).classes("hint")
    with ui.element("div").classes("strip"):
        for key, _ in life.files:
            if PICTURE.search(key):
                link = ui.element("a")
                link.props.update({"href": picture_url(key), "target": "_blank", "rel": "noopener"})
                with link:
                    picture(key, key, 320)
    with ui.element("ul").classes("plain-list"):
        for key, size in life.files:
            with ui.element("li"):
                ui.label(key).classes("mono")
                ui.label(texts.size(size)).classes("hint")
