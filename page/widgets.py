"""Pieces that several screens are made of. Texts from outside are only ever set as text or as an attribute's value."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import quote

from nicegui import ui

from page import texts
from shared.buckets import BucketError
from shared.errors import RequestError

ROOT = "/page"  # of everything that the page serves
THEME = """
const stored = localStorage.getItem('photog-theme');
if (stored) Quasar.Dark.set(stored === 'dark');
"""
SWITCH_THEME = """() => {
  Quasar.Dark.toggle();
  localStorage.setItem('photog-theme', Quasar.Dark.isActive ? 'dark' : 'light');
}"""
SLIDE = "(event) => event.target.parentNode.style.setProperty('--cut', event.target.value + '%')"

Result = TypeVar("Result")


def picture_url(key: str, side: int | None = None, download: str | None = None) -> str:
    """Return the address of a picture of the bucket.

    Args:
        side: longest side of a small one; None for the whole picture.
        download: name under which browsers save it; None shows it.
    """
    asked = [f"side={side}"] if side else []
    asked += [f"download={quote(download)}"] if download else []
    return f"{ROOT}/pictures/{quote(key)}" + ("?" + "&".join(asked) if asked else "")


def picture(key: str, alt: str, side: int | None = None) -> ui.element:
    """Show a picture of the bucket."""
    made = ui.element("img")
    made.props["src"], made.props["alt"] = picture_url(key, side), alt
    made.props["loading"], made.props["decoding"] = "lazy", "async"
    return made


def heading(text: str, level: int = 2) -> ui.element:
    """Show a heading."""
    with ui.element(f"h{level}") as made:
        ui.label(text)
    return made


@contextmanager
def card(title: str, hint: str = "", name: str = "") -> Iterator[ui.element]:
    """Show a section with a heading; its content is made in the block.

    Args:
        name: CSS class besides `card`, by which tests find it too.
    """
    with ui.element("section").classes(f"card {name}") as made:
        made.props["aria-label"] = title
        with ui.element("div").classes("card-head"):
            heading(title)
            if hint:
                ui.label(hint).classes("hint")
        yield made


def icon_button(icon: str, label: str, on_click: Callable[[], Any]) -> ui.button:
    """Show a small round button whose label screen readers say."""
    made = ui.button(icon=icon, on_click=on_click).props("flat round dense size=sm")
    made.props["aria-label"] = label
    return made


def compare(before: str, after: str) -> ui.element:
    """Show two pictures of the same scene, one over the other, with a slider that moves the border between them.

    Args:
        before, after: keys of the pictures, which are shown whole.
    """
    with ui.element("div").classes("compare") as made:
        picture(after, texts.AFTER)
        picture(before, texts.BEFORE).classes("compare-before")
        ui.element("div").classes("compare-line")
        ui.label(texts.BEFORE).classes("compare-tag compare-tag-before")
        ui.label(texts.AFTER).classes("compare-tag compare-tag-after")
        slider = ui.element("input").on("input", js_handler=SLIDE)
        slider.props.update({"type": "range", "min": 0, "max": 100, "value": 50, "aria-label": texts.COMPARE})
    return made


def announce(text: str, kind: str = "info") -> None:
    """Show a message for a few seconds."""
    ui.notify(text, type=kind, position="bottom", multi_line=True)  # type: ignore[arg-type]


async def ask(work: Callable[..., Result], *arguments: Any) -> Result | None:
    """Do what reads or writes the bucket, beside the event loop; what fails is told to the viewer, and gives None."""
    try:
        return await asyncio.to_thread(work, *arguments)
    except RequestError as error:
        announce(error.message, "negative")
    except (BucketError, OSError) as error:
        announce(texts.store_failed(str(error)), "negative")
    return None


@contextmanager
def frame(active: str, can_log_out: bool) -> Iterator[None]:
    """Show what every screen has: the header with the way to the others; the screen is made in the block."""
    ui.add_head_html(f'<link rel="stylesheet" href="{ROOT}/assets/page.css">')
    ui.colors(primary="#0f766e", positive="#15803d", negative="#b42318", warning="#b45309", info="#334155")
    ui.run_javascript(THEME)
    with ui.element("header").classes("top"):
        brand = ui.element("a").classes("brand")
        brand.props["href"] = f"{ROOT}/"
        brand.props["aria-label"] = texts.PRODUCT  # its text is hidden on narrow screens
        with brand:
            ui.element("span").classes("brand-mark")
            ui.label(texts.PRODUCT)
        with ui.element("nav") as navigation:
            navigation.props["aria-label"] = texts.NAVIGATION
            for name, path in ((texts.PORTRAITS, ""), (texts.PEOPLE, "people"), (texts.OPERATION, "operation")):
                link = ui.element("a").classes("nav" + (" nav-active" if name == active else ""))
                link.props["href"] = f"{ROOT}/{path}"
                if name == active:
                    link.props["aria-current"] = "page"
                with link:
                    ui.label(name)
        with ui.element("div").classes("top-end"):
            switch = ui.button(icon="contrast").props("flat round dense").on("click", js_handler=SWITCH_THEME)
            switch.props["aria-label"] = texts.SWITCH_THEME
            if can_log_out:
                with ui.element("form") as form:
                    form.props.update({"method": "post", "action": f"{ROOT}/logout"})
                    out = ui.element("button").classes("plain")
                    out.props["type"], out.props["aria-label"], out.props["title"] = (
                        "submit",
                        texts.LOG_OUT,
                        texts.LOG_OUT,
                    )
                    with out:
                        ui.icon("logout").props('aria-hidden="true"')
    with ui.element("div").classes("screen"):  # NiceGUI's page around it is the main element
        yield
