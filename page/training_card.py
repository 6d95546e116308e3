"""A training while it runs and when it is done: stage, time left, the curves, a stop, and the test portraits."""

from collections.abc import Callable, Mapping
from typing import Any

from nicegui import ui

from page import texts
from page.portrait_card import show_error, show_progress
from page.studio import Studio
from page.widgets import ask, card, heading, picture, picture_url
from shared.contract.manifests import Json

LOSS_COLOR, LIKENESS_COLOR, AXIS_COLOR = "#0f9d8f", "#d97706", "#8a8a90"  # readable on light and on dark


class TrainingCard:
    """One training's card.

    Args:
        on_replace: called if its photos showed somebody else, and the viewer wants them to replace the person.
    """

    def __init__(self, studio: Studio, user_id: str, request_id: str, on_replace: Callable[[], Any]) -> None:
        self._studio, self._request_id, self.finished = studio, request_id, False
        self._on_replace = on_replace
        self._shown = -1
        self._pictures: dict[int, ui.element] = {}
        self._picture_keys: dict[int, str] = {}
        with card(f"{texts.TRAINING} · {user_id}", "", "training") as self.root:
            with ui.element("div").classes("training-head") as self._head:
                with ui.element("div").classes("training-progress"):
                    self._stage = ui.label(texts.WAITING).classes("stage")
                    self._stage.props["aria-live"] = "polite"
                    self._bar = ui.linear_progress(0, show_value=False, size="6px").props("rounded instant-feedback")
                    self._bar.props["aria-label"] = texts.PROGRESS
                    self._left = ui.label("").classes("hint")
                ui.button(texts.STOP, on_click=self._stop, color=None).props("outline dense no-caps").classes("stop")
            self._chart = ui.echart(chart_options()).classes("chart")
            self._chart.props["aria-label"], self._chart.props["role"] = texts.CURVE, "img"
            self._caption = heading(texts.VALIDATION, 3)
            self._caption.set_visibility(False)
            self._validations = ui.element("div").classes("validations")
            self._validations.props.update({"role": "list", "aria-label": texts.VALIDATION})

    def tick(self, now: float) -> bool:
        """Show what is new; returns whether the training has just ended."""
        if self.finished:
            return False
        seen = self._studio.follower.look("train", self._request_id)
        if seen.answer is None:
            show_progress(seen, self._stage, self._bar, self._left, now, self._studio.supervisor is not None)
            if len(seen.curve) != self._shown:
                self._shown = len(seen.curve)
                self._draw([list(one) for one in seen.curve], [list(one) for one in seen.likeness])
            self._show_pictures(seen.pictures, dict(seen.likeness))
            return False
        self.finished = True
        self._head.delete()
        with self.root:
            if seen.answer.get("code") == "OK":
                self._show(seen.answer["data"])
            else:
                self._caption.delete()
                self._validations.delete()  # a training that fails keeps no pictures
                show_error(seen.answer, self._on_replace)
        return True

    def _show_pictures(self, pictures: Mapping[int, str], likeness: Mapping[int, float], best: int = -1) -> None:
        """Show the pictures of validations that are not shown yet, by step; those of a later attempt replace others."""
        for step in sorted(step for step, key in pictures.items() if self._picture_keys.get(step) != key):
            if step in self._pictures:
                self._pictures.pop(step).delete()
            with self._validations, ui.element("figure").classes("validation") as figure:
                figure.props["role"] = "listitem"
                link = ui.element("a")
                link.props.update({"href": picture_url(pictures[step]), "target": "_blank", "rel": "noopener"})
                with link:
                    picture(pictures[step], texts.validation_of(step))
                with ui.element("figcaption"):
                    ui.label(texts.step_name(step))
                    if (value := likeness.get(step)) is not None:
                        ui.label(f"{value:.2f}").classes("hint")
            self._pictures[step], self._picture_keys[step] = figure, pictures[step]
            self._caption.set_visibility(True)
            figure.move(self._validations, sorted(self._pictures).index(step))
        if best in self._pictures:
            self._pictures[best].classes(add="validation-best")

    def _draw(self, loss: list[list[float]], likeness: list[list[float]]) -> None:
        self._chart.options["series"][0]["data"] = loss
        self._chart.options["series"][1]["data"] = likeness
        self._chart.update()

    async def _stop(self) -> None:
        await ask(self._studio.cancel, "train", self._request_id)

    def _show(self, data: Json) -> None:
        checkpoints = data.get("checkpoints") or []
        likeness = {one["step"]: one["similarity"] for one in checkpoints if one.get("similarity") is not None}
        self._chart.options["series"][1]["data"] = [[step, value] for step, value in likeness.items()]
        self._chart.update()
        pictures = {one["step"]: str(one["pictures"]) for one in checkpoints if one.get("pictures")}
        self._show_pictures(pictures, likeness, data.get("best_step") or 0)
        ui.label(texts.trained_text(data.get("best_step") or 0, data.get("similarity"))).classes("stage")
        for warning in data.get("warnings") or []:
            ui.label(texts.warning(str(warning))).classes("advice")
        if (key := data.get("validation")) and not pictures:  # of an answer that an earlier photog has written
            with ui.element("figure").classes("sheet"):
                link = ui.element("a")
                link.props.update({"href": picture_url(str(key)), "target": "_blank", "rel": "noopener"})
                with link:
                    picture(str(key), texts.VALIDATION)
                with ui.element("figcaption"):
                    ui.label(texts.VALIDATION)


def chart_options() -> dict[str, Any]:
    """Return an empty chart of loss and likeness by step."""
    axis = {
        "axisLabel": {"color": AXIS_COLOR},
        "nameTextStyle": {"color": AXIS_COLOR},
        "splitLine": {"lineStyle": {"color": AXIS_COLOR, "opacity": 0.2}},
    }
    line = {"type": "line", "showSymbol": False, "data": []}
    return {
        "animation": False,
        "grid": {"left": 44, "right": 44, "top": 36, "bottom": 28},
        "legend": {"textStyle": {"color": AXIS_COLOR}, "top": 0, "icon": "roundRect"},
        "tooltip": {"trigger": "axis"},
        "xAxis": axis | {"type": "value", "splitLine": {"show": False}},
        "yAxis": [
            axis | {"type": "value", "scale": True},
            axis | {"type": "value", "min": 0, "max": 1, "splitLine": {"show": False}},
        ],
        "series": [
            line | {"name": texts.LOSS, "color": LOSS_COLOR},
            line | {"name": texts.LIKENESS, "color": LIKENESS_COLOR, "yAxisIndex": 1, "showSymbol": True},
        ],
    }
