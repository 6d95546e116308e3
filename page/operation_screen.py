"""The operator's screen: what waits, runs, was answered and failed, the workers, and the charts of the last hours."""

import time
from urllib.parse import urlencode

from nicegui import ui

from page import texts
from page.charts import Bin, bin_answers, latency_options, throughput_options
from page.request_index import DEAD, Entry, Running
from page.studio import Studio
from page.surroundings import Present, Trouble
from page.widgets import ROOT, announce, ask, card, heading
from shared.buckets import s3_name
from shared.contract.function import NAMES
from shared.operations.redrive import redrive
from shared.triggers.sqs_queue import QueueError, SqsQueue

ROWS = 25
MOST_SHOWN = 20  # troubles
TICK_SECONDS = 1.0
CHART_SECONDS = 10.0
MOST_MOVED = 10_000
STATES = ("", "waiting", "running", "ok", "failed", "conflict", "dead", "answered")
KINDS = ("failed", "conflict", "dead")  # states whose chips are shown in red


class OperationScreen:
    """One viewer's screen; all viewers share one index."""

    def __init__(self, studio: Studio, state: str, text: str) -> None:
        self._studio, self._state, self._page = studio, state, 0
        self._drawn, self._charted, self._charted_all = object(), float("-inf"), False
        self._bins: list[Bin] = []
        studio.index.look()
        heading(texts.OPERATION, 1)
        self._chips = ui.element("div").classes("chips")
        self._chips.props["role"] = "group"
        self._chips.props["aria-label"] = texts.STATE
        self._troubles = ui.element("div").classes("troubles")
        self._troubles.props["aria-live"] = "polite"
        with ui.element("div").classes("operation-columns"):
            with card(texts.REQUESTS, "", "requests"):
                self._search = ui.input(texts.SEARCH, value=text, on_change=self._restart)
                self._search.props("outlined dense clearable debounce=300 type=search").classes("search")
                self._rows = ui.element("div").classes("table-frame")
                with ui.element("div").classes("pager"):
                    self._newer = ui.button(texts.PREVIOUS, on_click=lambda: self._turn(-1)).props("flat no-caps dense")
                    self._range = ui.label("").classes("hint")
                    self._range.props["aria-live"] = "polite"
                    self._older = ui.button(texts.NEXT, on_click=lambda: self._turn(1)).props("flat no-caps dense")
                self._note = ui.label("").classes("hint")
            with ui.element("div").classes("side"):
                with card(texts.WORKERS, "", "workers"):
                    self._workers = ui.element("div").classes("worker-list")
                with card(texts.THROUGHPUT):
                    self._throughput = ui.echart(throughput_options([])).classes("chart")
                with card(texts.LATENCY):
                    self._latency = ui.echart(latency_options([])).classes("chart")
                with card(texts.ERRORS, "", "errors"):
                    self._errors = ui.element("div").classes("chips")
                if s3_name(studio.bucket) is not None:
                    self._make_redrive()
        self._tick()
        ui.timer(TICK_SECONDS, self._tick)

    def _restart(self) -> None:
        # into the address, so that a page that is loaded anew, or whose link is sent, shows the same
        ui.navigate.history.replace("?" + urlencode({"state": self._state, "text": str(self._search.value or "")}))
        self._page = 0
        self._tick()

    def _turn(self, by: int) -> None:
        self._page = max(0, self._page + by)
        self._tick()

    def _choose(self, state: str) -> None:
        self._state = "" if state == self._state else state
        self._restart()

    def _tick(self) -> None:
        index = self._studio.index
        index.look()
        found = index.find(self._state, str(self._search.value or ""), self._page, ROWS)
        counts, errors, running = index.counts(), index.errors(), index.running()
        unreadable, troubles, present = index.unreadable(), index.troubles(), index.present()
        shown = (
            [(one.request_id, one.function, one.state, one.error, one.users, one.answered) for one in found.entries],
            *(found.total, dict(counts), dict(errors), running, index.ready, index.unread(), unreadable, self._state),
            *(troubles, [(one.function, one.owner) for one in present]),
        )
        if time.monotonic() - self._charted > CHART_SECONDS or index.ready > self._charted_all:
            self._chart()
        if shown == self._drawn:
            return  # nothing has changed, so nothing is sent
        self._drawn = shown
        self._show_chips(dict(counts))
        self._show_rows(found.entries, {(one.function, one.request_id): one for one in running})
        first = self._page * ROWS + 1
        self._range.set_text(texts.page_of(first, min(first + ROWS - 1, found.total), found.total))
        self._newer.set_enabled(self._page > 0)
        self._older.set_enabled(first + ROWS - 1 < found.total)
        notes = [texts.unread_note(index.unread())] if index.unread() else []
        notes += [texts.unreadable_note(unreadable)] if unreadable else []
        self._note.set_text(" ".join(notes))
        self._show_troubles(troubles)
        self._show_workers(running, present)
        self._show_errors(dict(errors))

    def _show_chips(self, counts: dict[str, int]) -> None:
        self._chips.clear()
        with self._chips:
            for state in STATES:
                count = counts.get(state, 0) if state else sum(counts.values())
                if count or state in ("", "waiting", "running", "ok", "failed"):
                    self._chip(state, texts.STATE_NAMES[state], count, state in KINDS and count > 0)

    def _chip(self, state: str, name: str, count: int, bad: bool = False) -> None:
        chip = ui.element("button").classes("chip" + (" chip-bad" if bad else ""))
        chip.on("click", lambda: self._choose(state))
        chip.props.update({"type": "button", "aria-pressed": "true" if state == self._state else "false"})
        with chip:
            ui.label(name)
            ui.label(f"{count:,}").classes("chip-count")

    def _show_errors(self, errors: dict[str, int]) -> None:
        self._errors.clear()
        with self._errors:
            if not errors:
                ui.label(texts.NOTHING).classes("hint")
            for kind, count in sorted(errors.items(), key=lambda one: -one[1]):
                self._chip(kind, kind, count, kind == DEAD)

    def _show_rows(self, entries: list[Entry], running: dict[tuple[str, str], Running]) -> None:
        self._rows.clear()
        with self._rows:
            if not entries:
                ui.label(texts.NO_REQUESTS if self._studio.index.ready else texts.LISTING).classes("hint none")
                return
            with ui.element("table").classes("rows"):
                with ui.element("thead"), ui.element("tr"):
                    for title in (texts.REQUEST, texts.STATE, texts.USER, texts.WRITTEN, texts.TOOK):
                        with ui.element("th") as cell:
                            cell.props["scope"] = "col"
                            ui.label(title)
                with ui.element("tbody"):
                    for entry in entries:
                        self._show_row(entry, running.get((entry.function, entry.request_id)))

    def _show_row(self, entry: Entry, running: Running | None) -> None:
        with ui.element("tr"):
            with ui.element("td"):
                link = ui.element("a").classes("row-link")
                link.props["href"] = f"{ROOT}/operation/{entry.function}/{entry.request_id}"
                with link:
                    ui.label(entry.request_id).classes("mono")
                ui.label(texts.FUNCTION_NAMES[entry.function]).classes("hint")
            with ui.element("td"):
                ui.label(texts.STATE_NAMES[entry.state]).classes(f"badge badge-{entry.state}")
                if running is not None:
                    left = "" if running.eta_seconds is None else f" · {texts.seconds_left(running.eta_seconds)}"
                    ui.label(f"{texts.stage_name(running.stage)} {running.step}/{running.steps}{left}").classes("hint")
                elif entry.error:
                    ui.label(entry.error).classes("hint")
            with ui.element("td"):
                ui.label(", ".join(entry.users[:3]))
            with ui.element("td").classes("number"):
                ui.label(texts.ago(time.time() - entry.written) if entry.written else "")
            with ui.element("td").classes("number"):
                took = entry.answered - entry.written if entry.answered and entry.written else None
                ui.label("" if took is None else texts.took(took))

    def _show_troubles(self, troubles: list[Trouble]) -> None:
        self._troubles.clear()
        if not troubles:
            return
        with self._troubles, card(texts.troubles(len(troubles)), texts.TROUBLES_HINT, "trouble-card"):
            with ui.element("ul").classes("plain-list"):
                for one in troubles[:MOST_SHOWN]:
                    with ui.element("li").classes("trouble"):
                        ui.label(one.key).classes("mono")
                        ui.label(texts.sentence(one.why)).classes("advice")
                        if one.tries:
                            since = max(0.0, time.time() - one.since)
                            ui.label(texts.tell_tries(one.tries, since)).classes("hint")
            if len(troubles) > MOST_SHOWN:
                ui.label(texts.more_troubles(len(troubles) - MOST_SHOWN)).classes("hint")

    def _show_workers(self, running: list[Running], present: list[Present]) -> None:
        self._workers.clear()
        busy = {one.owner for one in running}
        idle = [one for one in present if one.owner not in busy]
        own = self._studio.supervisor.processes() if self._studio.supervisor else {}
        alive = {one.function for one in running} | {one.function for one in present}
        starting = [function for function in NAMES if function in own and function not in alive]
        oldest = next((one for one in reversed(self._studio.index.newest()) if one.state == "waiting"), None)
        with self._workers:
            for one in running:
                with ui.element("div").classes("worker"):
                    ui.label(one.owner or texts.FUNCTION_NAMES[one.function]).classes("mono")
                    ui.label(f"{texts.FUNCTION_NAMES[one.function]} · {one.request_id}").classes("hint")
                    bar = ui.linear_progress(one.step / max(1, one.steps), show_value=False, size="4px")
                    bar.props["aria-label"] = texts.stage_name(one.stage)
            for worker in idle:
                self._show_idle(worker.owner, texts.idle_worker(texts.FUNCTION_NAMES[worker.function]))
            for function in starting:
                self._show_idle(texts.FUNCTION_NAMES[function], texts.STARTING_WORKER)
            if not running and not idle and not starting:
                ui.label(texts.NO_WORKERS).classes("hint")
            if oldest is not None and oldest.written:
                ui.label(f"{texts.OLDEST}: {texts.ago(time.time() - oldest.written)}").classes("hint")

    def _show_idle(self, name: str, state: str) -> None:
        with ui.element("div").classes("worker worker-idle"):
            ui.label(name).classes("mono")
            ui.label(state).classes("hint")

    def _chart(self) -> None:
        self._charted, self._charted_all = time.monotonic(), self._studio.index.ready
        bins = bin_answers(self._studio.index.newest(), time.time(), self._studio.page.chart_hours)
        if bins == self._bins:
            return
        self._bins = bins
        for chart, options in ((self._throughput, throughput_options(bins)), (self._latency, latency_options(bins))):
            chart.options.update(options)
            chart.update()

    def _make_redrive(self) -> None:
        with card(texts.REDRIVE, texts.REDRIVE_HINT, "redrive"):
            function = ui.select(texts.FUNCTION_NAMES, value="generate", label=texts.FUNCTION).props("outlined dense")
            source = ui.input(texts.FROM_QUEUE).props("outlined dense")
            target = ui.input(texts.TO_QUEUE, value=self._studio.settings.sqs.queue or "").props("outlined dense")

            def move() -> int:
                settings = self._studio.settings
                queues = [SqsQueue(str(one.value).strip(), settings.sqs, settings.s3) for one in (source, target)]
                return redrive(str(function.value), queues[0], queues[1], MOST_MOVED)

            async def press() -> None:
                given = {str(one.value or "").strip() for one in (source, target)}
                if "" in given or len(given) < 2:
                    announce(texts.NEED_QUEUES, "warning")
                    return
                try:
                    moved = await ask(move)
                except QueueError as error:
                    announce(str(error), "negative")
                    return
                if moved is not None:
                    announce(texts.tell_moved(moved), "positive")

            ui.button(texts.MOVE, on_click=press).props("outline no-caps")
