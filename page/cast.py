"""Who takes each face of a template: a thumbnail of every face with a choice of persons, for templates with several."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from nicegui import ui

from page import texts
from page.studio import Studio
from page.verdict import read_faces, read_size
from page.widgets import ask, heading, picture
from shared.contract.manifests import NOBODY, Json

THIS_PERSON = ""  # the choice of whom the rest of the screen is about; no user_id is empty
MARGIN = 1.6  # of a thumbnail, in sizes of the face
PATIENCE_SECONDS = 15.0  # for the faces of a template, after which it counts as one with a single face


@dataclass(frozen=True)
class FaceBox:
    """One face of a template: its box and the template's size, in pixels."""

    box: tuple[float, float, float, float]
    width: int
    height: int

    @property
    def area(self) -> float:
        """Return the area of the box."""
        return (self.box[2] - self.box[0]) * (self.box[3] - self.box[1])

    def crop(self) -> dict[str, float]:
        """Return width, left and top in percent by which the template is placed in a square that shows the face."""
        left, top, right, bottom = self.box
        side = max(right - left, bottom - top, 1.0) * MARGIN
        x, y = (left + right - side) / 2, (top + bottom - side) / 2
        return {"width": 100 * self.width / side, "left": -100 * x / side, "top": -100 * y / side}


class Cast:
    """The choices for one template; it is shown once two faces or more are found in it.

    Args:
        key: the template's.
        persons: the persons to choose from, by the value of each choice.
        on_change: called when faces were found, and when another person was chosen.
    """

    def __init__(
        self, studio: Studio, key: str, name: str, persons: Mapping[str, str], on_change: Callable[[], None]
    ) -> None:
        self._studio, self._key, self._name, self._on_change = studio, key, name, on_change
        self._persons = dict(persons)
        self._request_id, self._since = "", float("inf")
        self._selects: list[ui.select] = []
        self.root = ui.element("fieldset").classes("cast")
        self.root.set_visibility(False)
        self.faces: list[FaceBox] | None = None

    async def begin(self, now: float) -> None:
        """Ask for the faces, by a check of the template."""
        self._since = now
        self._request_id = await ask(self._studio.find_faces, self._key) or ""
        if not self._request_id:
            self.faces = []

    def waits(self, now: float) -> bool:
        """Return whether the faces may still come."""
        return self.faces is None and now - self._since < PATIENCE_SECONDS

    def choices(self) -> list[str]:
        """Return who takes each face, from left to right; with one face, or while they are unknown, this person."""
        return [str(one.value) for one in self._selects] or [THIS_PERSON]

    def is_empty(self) -> bool:
        """Return whether it is known that the template shows no face."""
        return self.faces == [] and bool(self._request_id)

    def set_persons(self, persons: Mapping[str, str]) -> None:
        """Offer other persons; who was chosen and is gone leaves the face as it is."""
        if self._persons == dict(persons):
            return
        self._persons = dict(persons)
        for one in self._selects:
            one.set_options(self._persons, value=one.value if one.value in persons else NOBODY)

    def tick(self) -> None:
        """Show the faces once they are known."""
        if self.faces is not None or not self._request_id:
            return
        answer = self._studio.follower.look("check", self._request_id).answer
        if answer is not None:
            self.faces = _read(answer)
            if len(self.faces) > 1:
                self._show(self.faces)
            self._on_change()

    def _show(self, faces: list[FaceBox]) -> None:
        self.root.set_visibility(True)
        main = max(range(len(faces)), key=lambda number: faces[number].area)
        with self.root:
            with ui.element("legend"):
                heading(texts.who_is_who(self._name, len(faces)), 3)
            for number, face in enumerate(faces):
                with ui.element("div").classes("cast-face"):
                    with ui.element("div").classes("face-thumb"):
                        place = ";".join(f"{side}:{value:.2f}%" for side, value in face.crop().items())
                        picture(self._key, "", 1600).style(place)
                    choice = THIS_PERSON if number == main else NOBODY
                    label = texts.face_label(number + 1)
                    made = ui.select(self._persons, value=choice, label=label, on_change=self._on_change)
                    self._selects.append(made.props("outlined dense options-dense"))


def _read(answer: Json) -> list[FaceBox]:
    """Return the faces in a check's answer; none of an answer that has no picture."""
    results = (answer.get("data") or {}).get("check_results")
    result = results[0] if isinstance(results, list) and results and isinstance(results[0], dict) else {}
    width, height = read_size(result)
    return [FaceBox(box, width, height) for box in read_faces(result)] if width and height else []
