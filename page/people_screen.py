"""The people whom the bucket knows, each with photos, trainings and portraits, and the way to forget them."""

from nicegui import ui

from page import texts
from page.request_index import Entry
from page.studio import Forgotten, Person, Studio
from page.widgets import ROOT, ask, heading, picture
from shared.buckets import BucketError
from shared.contract import keys
from shared.contract.manifests import Json

MOST_SHOWN = 12  # photos or portraits of one person


class PeopleScreen:
    """One viewer's list."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        heading(texts.PEOPLE, 1)
        self._list = ui.element("div").classes("people")

    async def fill(self) -> None:
        """Show everybody."""
        people = await ask(self._studio.people) or []
        self._list.clear()
        with self._list:
            if not people:
                with ui.element("div").classes("empty"):
                    ui.icon("group").classes("empty-icon")
                    heading(texts.NO_PEOPLE)
                    ui.label(texts.NO_PEOPLE_HINT).classes("hint")
            for person in people:
                await self._show(person)

    async def _show(self, person: Person) -> None:
        with ui.element("section").classes("card person-card") as section:
            section.props["aria-label"] = person.user_id
            with ui.element("div").classes("person-head"):
                picture(person.photos[0], "", 96).classes("avatar")
                with ui.element("div").classes("person-name"):
                    heading(person.user_id)
                    kind = texts.TRAINED if person.trained else texts.INSTANT if person.known else texts.UPLOADED
                    ui.label(f"{kind} · {texts.photos_kept(len(person.photos))}").classes("hint")
                if person.known:
                    make = ui.button(texts.MAKE_WITH, on_click=lambda: ui.navigate.to(f"{ROOT}/?user={person.user_id}"))
                    make.props("outline no-caps dense")
                forget = ui.button(texts.FORGET, icon="delete_outline", on_click=lambda: self._ask(person), color=None)
                forget.props("flat no-caps dense").classes("forget").props["aria-label"] = (
                    f"{texts.FORGET} {person.user_id}"
                )
            with ui.element("div").classes("strip"):
                for key in person.photos[:MOST_SHOWN]:
                    picture(key, f"{texts.PHOTOS} {person.user_id}", 320)
            await self._show_work(person)

    async def _show_work(self, person: Person) -> None:
        entries = self._studio.index.of_user(person.user_id)
        trainings = [one for one in entries if one.function == "train"]
        portraits = [one for one in entries if one.function == "generate" and one.state == "ok"][:MOST_SHOWN]
        shown = await ask(_portraits, self._studio, portraits) or []
        if shown:
            heading(texts.PORTRAITS_OF, 3)
            with ui.element("div").classes("strip"):
                for request_id, key in shown:
                    link = ui.element("a")
                    link.props["href"] = f"{ROOT}/operation/generate/{request_id}"
                    with link:
                        picture(key, f"{texts.PORTRAIT} {person.user_id}", 320)
        if trainings:
            heading(texts.TRAININGS_OF, 3)
            with ui.element("ul").classes("plain-list"):
                for one in trainings[:MOST_SHOWN]:
                    with ui.element("li"):
                        link = ui.element("a")
                        link.props["href"] = f"{ROOT}/operation/train/{one.request_id}"
                        with link:
                            ui.label(one.request_id)
                        ui.label(texts.STATE_NAMES[one.state]).classes(f"badge badge-{one.state}")

    def _ask(self, person: Person) -> None:
        with ui.dialog().props("persistent") as dialog, ui.card().classes("dialog"):
            heading(texts.forget_question(person.user_id))
            told = ui.label(texts.forget_explained(person.user_id))
            with ui.element("div").classes("actions") as actions:
                ui.button(texts.CANCEL, on_click=dialog.close).props("flat no-caps")

                async def forget() -> None:
                    actions.clear()
                    told.set_text(texts.FORGETTING)
                    done = await ask(self._studio.forget, person.user_id)
                    dialog.clear()
                    with dialog, ui.card().classes("dialog"):
                        self._report(person.user_id, done, dialog)

                now = ui.button(texts.FORGET_NOW, on_click=forget, color=None)
                now.props("unelevated no-caps").classes("solid-bad forget-now")
        dialog.open()

    def _report(self, user_id: str, done: Forgotten | None, dialog: ui.dialog) -> None:
        async def close() -> None:
            dialog.close()
            await self.fill()

        if done is not None and not done.remaining:
            heading(texts.NOTHING_REMAINS)
            ui.label(texts.forget_done(user_id, len(done.removed)))
        elif done is not None:
            heading(texts.forget_left(len(done.remaining)))
            for key in done.remaining[:MOST_SHOWN]:
                ui.label(f"{key} {done.faults.get(key, '')}").classes("mono")
        ui.button(texts.DONE, on_click=close, color=None).props("unelevated no-caps").classes("solid forget-done")


def _portraits(studio: Studio, entries: list[Entry]) -> list[tuple[str, str]]:
    """Return the requests and the keys of the pictures in these answers."""
    found = []
    for one in entries:
        try:
            answer: Json = studio.client.answer("generate", one.request_id) or {}
        except BucketError:
            continue
        key = (answer.get("data") or {}).get("image_key")
        if isinstance(key, str) and key.startswith(keys.RESULTS):
            found.append((one.request_id, key))
    return found
