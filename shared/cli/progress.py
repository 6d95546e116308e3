"""One line of progress on stderr for all requests of a command, with the time that is left."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TaskProgressColumn, TextColumn

from shared.contract.manifests import Json

QUIET_SECONDS = 20.0  # between two lines where there is no terminal to draw on, if nothing else begins
CHANGE_SECONDS = 3.0  # between two lines at least, also if something else begins
ALMOST = 0.99  # shown at most, until the last answer is there
WHOLE = 1000
STAGES = {"start": "beginning", "references": "reading the photos", "diffusion-1": "first diffusion",
          "diffusion-2": "second diffusion", "fusion-1": "first face fusion", "fusion-2": "second face fusion",
          "color-1": "color", "color-2": "color", "retouch": "skin", "enhance": "sharpening", "check": "looking",
          "latents": "encoding the photos"}  # fmt: skip
"""Stages of the functions in the user's words; the others are words already."""


@dataclass(frozen=True)
class Part:
    """One request of a command.

    Attributes:
        what: what it does, in the user's words.
        seconds: how long it should take; None if nobody knows.
    """

    what: str
    seconds: float | None = None


class ProgressLine:
    """A context manager that shows how far the parts are: a bar on a terminal, otherwise a line now and then.

    Args:
        parts: in the order in which they are begun.
        quiet: show nothing.
    """

    def __init__(self, parts: Sequence[Part], quiet: bool = False) -> None:
        console = Console(stderr=True)
        self._drawn = console.is_terminal and not quiet
        self._told = not console.is_terminal and not quiet
        self._parts, self._at = list(parts), -1
        self._started = self._begun = time.monotonic()
        self._shown, self._said_at, self._said = 0.0, float("-inf"), set[str]()
        columns: tuple[ProgressColumn, ...] = (
            TextColumn("photog"),
            BarColumn(30),
            TaskProgressColumn(),
            TextColumn("{task.fields[left]}", markup=False),
            TextColumn("{task.description}", markup=False),
        )
        self._progress = Progress(*columns, console=console, disable=not self._drawn, transient=True)
        self._task = self._progress.add_task("", total=WHOLE, left="")

    def __enter__(self) -> "ProgressLine":
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Take the bar away for the block, which prints lines of its own."""
        self._progress.stop()
        try:
            yield
        finally:
            self._progress.start()

    def skip(self) -> None:
        """Leave out the next part."""
        self._at = min(self._at + 1, len(self._parts) - 1)

    def begin(self) -> None:
        """Begin the next part."""
        self._at = min(self._at + 1, len(self._parts) - 1)
        self._begun, self._said = time.monotonic(), set()
        self._said_at = float("-inf") if len(self._parts) > 1 else self._begun  # a single one was just asked for
        self.update(None)

    def update(self, data: Json | None, waiting: str = "") -> None:
        """Show the running part's progress object, or while there is none, what is waited for."""
        part = self._parts[self._at]
        doing = part.what + (f": {waiting}" if waiting else "")
        if data is not None:
            words = describe(data)
            doing = words if words.startswith(part.what) else f"{part.what}: {words}"
        left = self._left(data)
        if left is None:
            self._progress.update(self._task, description=doing, total=None, left=in_words(self._elapsed()) + " so far")
        else:
            self._shown = max(self._shown, min(ALMOST, self._elapsed() / max(self._elapsed() + left, 1e-9)))
            told = f"{in_words(left)} left"
            self._progress.update(self._task, description=doing, total=WHOLE, completed=self._shown * WHOLE, left=told)
        stage = waiting if data is None else str(data["stage"])
        quiet = time.monotonic() - self._said_at
        if self._told and quiet > (QUIET_SECONDS if stage in self._said else CHANGE_SECONDS):
            self._said_at = time.monotonic()
            self._said.add(stage)
            typer.echo(f"photog: {doing}" + ("" if left is None else f", {in_words(left)} left"), err=True)

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        if self._drawn:
            self._progress.console.print(f"photog: {line}", markup=False, highlight=False)
        else:
            typer.echo(f"photog: {line}", err=True)

    def _elapsed(self) -> float:
        return time.monotonic() - self._started

    def _left(self, data: Json | None) -> float | None:
        """Return the seconds until the last part is over; None if that is not known."""
        later = [part.seconds for part in self._parts[self._at + 1 :]]
        expected, known = self._parts[self._at].seconds, None if data is None else data.get("eta_seconds")
        if known is None and expected is not None:
            spent = time.monotonic() - self._begun
            known = max(expected - spent, 0.1 * expected)  # a part that takes longer is always nearly done
        if known is None or None in later:
            return None
        return float(known) + sum(one for one in later if one is not None)


def describe(data: Json) -> str:
    """Return a progress object in words."""
    words = STAGES.get(str(data["stage"]), str(data["stage"]))
    steps = f", step {data['step']} of {data['steps']}" if data["steps"] > 1 else ""
    return words + steps + (f", loss {data['loss']:.3f}" if "loss" in data else "")


def in_words(seconds: float) -> str:
    """Return a time as people say it: "a few seconds", "about 40 seconds", "about 4 minutes"."""
    if seconds < 7.5:
        return "a few seconds"
    if seconds < 57.5:
        return f"about {5 * round(seconds / 5)} seconds"
    if seconds < 90:
        return "about a minute"
    if seconds < 90 * 60:
        return f"about {round(seconds / 60)} minutes"
    return f"about {round(seconds / 3600)} hours"
