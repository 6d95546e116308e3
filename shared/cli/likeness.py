"""What the similarity of a portrait means, for whoever sees the figure for the first time."""

THRESHOLDS = {
    "dlib": "0.5 is photog's threshold of one person for dlib (distance 0.49, by which relatives differ), 0.39 that of "
    "dlib's author (0.6)",
    "insightface": "0.5 is the threshold of one person for insightface (a cosine of 0.45)",
}
"""By face engine; `similarity` of `shared/faces/base.py` has the scale."""

USUAL = "with the default knobs (more_like_me 0.5) portraits by the embedded models mostly lie between 0.4 and 0.7"
"""benchmarks/portraits.py over three people and five templates: distances by dlib of 0.30 to 0.57."""

RAISE = "--set more_like_me=1.0 --set more_like_me_before=1.0 brings it nearer to the person"


def meaning(engine: str) -> str:
    """What the figure is, what is usual, and which knob raises it."""
    return f"similarity by {engine}: {THRESHOLDS[engine]}; {USUAL}; {RAISE}"
