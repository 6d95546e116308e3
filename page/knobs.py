"""The knobs of generate as a form in four groups: names, defaults and bounds are those of the request model."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from nicegui import ui
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from page import texts
from shared.contract.manifests import Json
from shared.errors import ConfigurationError
from shared.runtime.request_models import request_model

# set elsewhere on the page, or always the same
NOT_KNOBS = {"references", "user_id", "another_person", "sex", "seed", "image_format"}
GROUPED = (
    ("more_like_me", "apply_face_fusion_after", "more_like_me_before", "apply_face_fusion_before"),
    (
        "first_denoising_strength",
        "first_diffusion_steps",
        "second_denoising_strength",
        "second_diffusion_steps",
        "mask_region",
        "crop_face_preprocess",
    ),
    (
        "color_shift_middle",
        "color_shift_last",
        "skin_retouching_bool",
        "photo_enhancement_bool",
        "photo_enhancement_method",
        "makeup_transfer",
        "makeup_transfer_ratio",
    ),
    ("background_restore", "additional_prompt"),
)
"""By group, in the order of texts.GROUPS."""


@dataclass(frozen=True)
class Knob:
    """One setting of a portrait: its name in the contract, what it may be, and where it begins."""

    name: str
    kind: Literal["switch", "choice", "share", "number", "text"]
    default: Any
    choices: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None


def list_knobs() -> dict[str, Knob]:
    """Return every knob of the installed generate by name; raises ConfigurationError without it."""
    model = request_model("generate")
    if model is None:
        raise ConfigurationError("generate is not installed, so the page has no knobs to show")
    configure = model.model_fields["configure"].annotation
    if not (isinstance(configure, type) and issubclass(configure, BaseModel)):
        raise ConfigurationError("generate has no knobs that the page can show")
    return {name: _describe(name, field) for name, field in configure.model_fields.items() if name not in NOT_KNOBS}


def _describe(name: str, field: FieldInfo) -> Knob:
    kind, default = field.annotation, field.get_default()
    if kind is bool:
        return Knob(name, "switch", default)
    if get_origin(kind) is Literal:
        return Knob(name, "choice", default, choices=get_args(kind))
    if kind in (int, float):
        bounds = {type(one).__name__: one for one in field.metadata}
        least, most = getattr(bounds.get("Ge"), "ge", None), getattr(bounds.get("Le"), "le", None)
        return Knob(name, "share" if kind is float else "number", default, least=least, most=most)
    return Knob(name, "text", default, most=_longest(field))


def _longest(field: FieldInfo) -> float | None:
    return next((one.max_length for one in field.metadata if hasattr(one, "max_length")), None)


class KnobForm:
    """The form; `values` are those that differ from the defaults."""

    def __init__(self) -> None:
        self._knobs = list_knobs()
        self._inputs: dict[str, Any] = {}
        with ui.element("div").classes("knob-groups"):
            for title, names in zip(texts.GROUPS, GROUPED, strict=True):
                with ui.element("fieldset").classes("knob-group"):
                    with ui.element("legend"):
                        ui.label(title)
                    for name in names:
                        if name in self._knobs:
                            self._inputs[name] = _MAKERS[self._knobs[name].kind](self._knobs[name])

    def values(self) -> Json:
        """Return the knobs that are not at their defaults."""
        found = {name: self._read(name) for name in self._inputs}
        return {name: value for name, value in found.items() if value != self._knobs[name].default}

    def show(self, values: Json) -> None:
        """Set the form to these values, and the rest to the defaults."""
        for name, one in self._inputs.items():
            one.value = values.get(name, self._knobs[name].default)

    def _read(self, name: str) -> Any:
        value, knob = self._inputs[name].value, self._knobs[name]
        if value is None:
            return knob.default
        return int(value) if knob.kind == "number" else value


def _labels(knob: Knob) -> tuple[str, str]:
    """Return a knob's name, and its meaning with its default."""
    label, meaning = texts.KNOB.get(knob.name, (knob.name.replace("_", " ").capitalize(), ""))
    return label, f"{meaning} {texts.default_of(_show_default(knob))}".strip()


def _show_default(knob: Knob) -> str:
    if knob.kind == "switch":
        return texts.ON if knob.default else texts.OFF
    if knob.kind == "choice":
        return texts.CHOICES.get(knob.default, str(knob.default))
    return f"{knob.default:.2f}" if knob.kind == "share" else str(knob.default) or texts.NONE


def _make_switch(knob: Knob) -> Any:
    label, hint = _labels(knob)
    with ui.element("div").classes("knob"):
        made = ui.switch(label, value=knob.default).props("dense")
        ui.label(hint).classes("hint")
    return made


def _make_choice(knob: Knob) -> Any:
    label, hint = _labels(knob)
    options = {one: texts.CHOICES.get(one, one) for one in knob.choices}
    with ui.element("div").classes("knob"):
        made = ui.select(options, value=knob.default, label=label).props("outlined dense options-dense")
        ui.label(hint).classes("hint")
    return made


def _make_share(knob: Knob) -> Any:
    label, hint = _labels(knob)
    with ui.element("div").classes("knob"):
        with ui.element("div").classes("knob-head"):
            ui.label(label)
            figure = ui.label(f"{knob.default:.2f}").classes("figure")
        made = ui.slider(min=knob.least or 0, max=knob.most or 1, step=0.05, value=knob.default).props(
            "label-always=false"
        )
        made.props["aria-label"] = label
        made.on_value_change(lambda event: figure.set_text(f"{event.value:.2f}"))
        ui.label(hint).classes("hint")
    return made


def _make_number(knob: Knob) -> Any:
    label, hint = _labels(knob)
    with ui.element("div").classes("knob"):
        made = ui.number(label, value=knob.default, min=knob.least, max=knob.most, precision=0)
        made.props("outlined dense")
        ui.label(hint).classes("hint")
    return made


def _make_text(knob: Knob) -> Any:
    label, hint = _labels(knob)
    with ui.element("div").classes("knob"):
        made = ui.textarea(label, value=knob.default).props("outlined dense autogrow")
        made.props["maxlength"] = int(knob.most or 2000)
        ui.label(hint).classes("hint")
    return made


_MAKERS: dict[str, Callable[[Knob], Any]] = {
    "switch": _make_switch,
    "choice": _make_choice,
    "share": _make_share,
    "number": _make_number,
    "text": _make_text,
}
