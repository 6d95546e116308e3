"""The name of a base model, by which answers, adapters and users' models know it; it imports nothing that computes."""

import re
from pathlib import Path

EMBEDDED = "portrait-tiny"
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
FILE = ".safetensors"


def name_base_model(configured: str) -> str:
    """Return what the base model of PHOTOG_MODEL__PATH is called, whether it is on this machine or not."""
    path = Path(configured).expanduser()
    if configured == EMBEDDED or (HUB_ID.fullmatch(configured) and not path.exists()):
        return configured
    return path.stem if path.suffix == FILE and not path.is_dir() else path.name
