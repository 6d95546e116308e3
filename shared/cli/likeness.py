"""Explanation of a portrait's similarity: whole for people who see the figure for the first time, then in one line."""

from contextlib import suppress

from shared.settings import Settings

_OF_DLIB = (
    "0.5 is photog's threshold for the same person with {} (distance 0.49, telling relatives apart), 0.39 is that of "
    "dlib's author (distance 0.6)"
)
THRESHOLDS = {
    "mesh": _OF_DLIB.format("mesh"),
    "dlib": _OF_DLIB.format("dlib"),
    "insightface": "0.5 is the threshold for the same person with insightface (a cosine of 0.45)",
}
"""By face engine; `similarity` in `shared/faces/base.py` defines the scale."""

SAYS_NOTHING = "it compares faces, and says nothing about sharpness"
USUAL = "with the default knobs (more_like_me 0.5), portraits by the embedded models mostly have 0.4 to 0.7"
"""benchmarks/portraits.py over three people and five templates: dlib distances of 0.30 to 0.57."""

RAISE = "--set more_like_me=1.0 --set more_like_me_before=1.0 makes it more like the person"


EXPLAINED = "similarity-explained"  # a file in the home folder, with the names of the engines


def explain_similarity(settings: Settings) -> str:
    """Return what the figure means: whole when it is asked for the first time on this machine, then in short."""
    engine, file = settings.faces.engine, settings.home.expanduser() / EXPLAINED
    told = set[str]()
    with suppress(OSError, ValueError):
        told = set(file.read_text().split())
    if engine in told:
        return f"similarity by {engine}: 0.5 and more is the same person; {RAISE}"
    with suppress(OSError):  # where the home folder cannot be written, it is explained again
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join(sorted({*told, engine})))
    return meaning(engine)


def meaning(engine: str) -> str:
    """Return what the figure means, what is usual, and which knob raises it."""
    return f"similarity by {engine}: {THRESHOLDS[engine]}; {SAYS_NOTHING}; {USUAL}; {RAISE}"
