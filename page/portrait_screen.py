"""The screen for a person: photos, name, template, settings on one side, the portraits on the other."""

import random
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

from nicegui import ui

from page import texts
from page.cast import THIS_PERSON
from page.knobs import KnobForm
from page.photo_section import LABEL_INPUTS, PhotoSection
from page.portrait_card import PortraitCard
from page.studio import FEWEST_TO_TRAIN, Studio, Taker, make_user_id
from page.template_section import TemplateSection
from page.training_card import TrainingCard
from page.widgets import ask, card, heading
from shared.contract.manifests import NOBODY, Json

TICK_SECONDS, IDLE_SECONDS = 0.1, 0.5  # between two looks while something is waited for, and while nothing is
SEEDS = 2**32
MOST_VARIANTS = 8
STEPS = 400  # of a training, as the command line's default


class PortraitScreen:
    """One viewer's screen."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._portraits: list[PortraitCard] = []
        self._trainings: list[TrainingCard] = []
        self._people: list[str] = []
        self._waited = False
        with ui.element("div").classes("two-columns"):
            with ui.element("div").classes("inputs"):
                self._photos = PhotoSection(studio, self._update)
                self._make_person()
                self._templates = TemplateSection(studio, self._update)
                self._make_knobs()
            with ui.element("div").classes("outputs"):
                self._make_output()
        self._timer = ui.timer(IDLE_SECONDS, self._tick)

    async def fill(self, user_id: str) -> None:
        """Show what the bucket has; a person who comes from the list of people is chosen."""
        await self._templates.fill()
        await self._fill_people()
        if user_id in self._people:
            self._known.set_value(user_id)
        ui.run_javascript(LABEL_INPUTS)
        self._update()

    async def _fill_people(self) -> None:
        """Offer the people whom the bucket knows now."""
        self._people = [one.user_id for one in await ask(self._studio.people) or [] if one.known]
        chosen = self._known.value if self._known.value in self._people else ""
        self._known.set_options({"": texts.NOBODY_CHOSEN} | {one: one for one in self._people}, value=chosen)
        self._known.set_visibility(bool(self._people))

    def _make_person(self) -> None:
        with card(texts.PERSON, texts.PERSON_HINT, "person"):
            with ui.element("div").classes("fields"):
                self._name = ui.input(texts.NAME, placeholder=texts.NAME_PLACEHOLDER, on_change=self._update)
                self._name.props("outlined dense maxlength=64 autocomplete=off")
                self._known = ui.select({"": texts.NOBODY_CHOSEN}, value="", label=texts.KNOWN, on_change=self._update)
                self._known.props("outlined dense options-dense")
            self._kept = ui.label("").classes("hint")
            with ui.expansion(texts.TRAINING).classes("train-options"), ui.element("div").classes("fields"):
                self._steps = ui.number(texts.TRAIN_STEPS, value=STEPS, min=1, max=10_000, precision=0)
                self._steps.props("outlined dense")
                self._train = ui.button(texts.TRAIN, on_click=self._start_training).props("outline no-caps")
                self._why_no_training = ui.label("").classes("hint")
                self._why_no_training.props["aria-live"] = "polite"

    def _make_knobs(self) -> None:
        with card(texts.KNOBS, texts.KNOBS_HINT, "knobs"):
            with ui.element("div").classes("fields"):
                self._seed = ui.number(texts.SEED, min=0, max=SEEDS - 1, precision=0).props("outlined dense clearable")
                self._seed.tooltip(texts.SEED_HINT)
                self._variants = ui.number(texts.VARIANTS, value=1, min=1, max=MOST_VARIANTS, precision=0)
                self._variants.props("outlined dense")
                self._variants.tooltip(texts.VARIANTS_HINT)
            with ui.expansion(" · ".join(texts.GROUPS)).classes("knob-expansion"):
                self._form = KnobForm()
                ui.button(texts.RESET, icon="restart_alt", on_click=self._reset).props("flat no-caps")

    def _make_output(self) -> None:
        with ui.element("div").classes("make"):
            self._button = ui.button(texts.MAKE, icon="auto_awesome", on_click=self._make, color=None)
            self._button.props("unelevated no-caps").classes("solid make-button")
            self._why = ui.label("").classes("hint")
            self._why.props["aria-live"] = "polite"
        self._training_area = ui.element("div").classes("training-area")
        self._gallery = ui.element("div").classes("gallery")
        self._gallery.props["aria-label"], self._gallery.props["role"] = texts.PORTRAIT, "region"
        with self._gallery, ui.element("div").classes("empty") as self._empty:
            ui.icon("portrait").classes("empty-icon")
            heading(texts.EMPTY_TITLE)
            ui.label(texts.EMPTY).classes("hint")

    def _user(self) -> str:
        return make_user_id(str(self._name.value or "")) or str(self._known.value or "")

    def _missing(self) -> str:
        """Return what has to be done before a portrait can be made; empty if it can."""
        if self._name.value and not make_user_id(str(self._name.value)):
            return texts.WRONG_NAME
        if self._photos.waiting():
            return texts.WAIT_CHECKS
        takers = [self._templates.takers(one) for one in self._templates.chosen]
        needed = not takers or any(THIS_PERSON in one for one in takers)
        if needed and not self._photos.usable() and (self._photos.any() or not self._known.value):
            return texts.NEED_FACE
        if not takers:
            return texts.NEED_TEMPLATE
        if self._templates.waiting():
            return texts.WAIT_TEMPLATE
        return texts.NEED_SOMEBODY if any(set(one) == {NOBODY} for one in takers) else ""

    def _update(self) -> None:
        if not hasattr(self, "_button"):
            return  # while the screen is made
        missing, user = self._missing(), self._user()
        self._templates.set_persons(self._people, user)
        self._button.set_enabled(not missing)
        self._why.set_text(missing)
        self._kept.set_text(texts.tell_id(user) if user and user != self._name.value else "")
        needed = texts.NEED_NAME if not user else ""
        if (usable := len(self._photos.usable())) < FEWEST_TO_TRAIN:
            needed = texts.need_photos(FEWEST_TO_TRAIN, usable)
        self._train.set_enabled(not needed)
        self._why_no_training.set_text(needed)

    async def _make(self) -> None:
        first = int(self._seed.value) if self._seed.value is not None else random.randrange(SEEDS)
        count = max(1, min(MOST_VARIANTS, int(self._variants.value or 1)))
        user = self._user()
        if user and not await self._photos.adopt(user):
            return
        for template in list(self._templates.chosen):
            people = [self._taker(choice, user) for choice in self._templates.takers(template)]
            for number in range(count):
                knobs = self._form.values() | {"seed": (first + number) % SEEDS}
                sent = await ask(self._studio.portray, self._photos.draft, template, people, knobs)
                if sent is not None:
                    self._add(*sent)

    def _taker(self, choice: str, user: str) -> Taker:
        return Taker(user or None, tuple(self._photos.usable())) if choice == THIS_PERSON else Taker(choice)

    def _add(self, request_id: str, body: Json) -> None:
        self._empty.set_visibility(False)
        with self._gallery:
            number = len(self._portraits) + 1
            made = PortraitCard(self._studio, number, request_id, body, self._again, self._replace)
        made.root.move(self._gallery, 0)
        self._portraits.append(made)

    async def _replace(self, body: Json) -> None:
        sent = await ask(self._studio.portray_replacing, self._photos.draft, body)
        if sent is not None:
            self._add(*sent)

    async def _again(self, body: Json) -> None:
        configure: dict[str, Any] = body["configure"]
        self._form.show(configure)
        self._seed.set_value(configure.get("seed"))
        await self._templates.choose(str(body["template_image"]))

    def _reset(self) -> None:
        self._form.show({})
        self._seed.set_value(None)
        self._variants.set_value(1)

    async def _start_training(self) -> None:
        user = self._user()
        if not await self._photos.adopt(user):
            return
        await self._train_person(user, self._photos.usable(), int(self._steps.value or STEPS))

    async def _train_person(
        self, user: str, photos: Sequence[str], steps: int, if_another: Literal["refuse", "replace"] = "refuse"
    ) -> None:
        request_id = await ask(self._studio.train, user, photos, steps, if_another)
        if request_id is not None:
            with self._training_area:
                again = partial(self._train_person, user, photos, steps, "replace")
                self._trainings.append(TrainingCard(self._studio, user, request_id, again))

    async def _tick(self) -> None:
        now = time.monotonic()
        await self._photos.tick()
        self._templates.tick()
        if self._waited != self._templates.waiting():
            self._waited = not self._waited
            self._update()
        waits = self._photos.waiting() or self._waited
        waits |= any(not one.finished for one in self._portraits) or any(not one.finished for one in self._trainings)
        self._timer.interval = TICK_SECONDS if waits else IDLE_SECONDS
        ended = [one.tick(now) for one in self._portraits] + [one.tick(now) for one in self._trainings]
        if any(ended):
            await self._fill_people()  # whoever was just made known can take a face of the next template
            self._update()
