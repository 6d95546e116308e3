"""A folder of somebody's own, whose names happen to be those of our packages and of what they import."""

from pathlib import Path

NAMES = ("shared", "functions", "serve", "cv2.py", "typer.py", "numpy.py", "scipy", "torch.py", "PIL")


def folder(place: Path) -> Path:
    """Make it; whatever is imported from there ends in an error."""
    place.mkdir()
    for name in NAMES:
        file = place / name if name.endswith(".py") else place / name / "__init__.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"raise RuntimeError('{name} of the current directory was imported')\n")
    return place
