"""Decodes what a coverage-guided fuzzer makes of small pictures, until it is stopped; needs `pip install atheris`.

    python -m tests.hostile.fuzz_decoding FOLDER [-max_total_time=600]

FOLDER keeps what reached new code, so that the next run goes on from there. Anything but a picture or a PhotoError is a
crash, and so is a picture of at most 1 MB that takes five seconds.
"""

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["shared.photos", "PIL"]):
    from shared.errors import PhotoError
    from shared.photos import decode_photo
from shared.settings import Limits
from tests.hostile.pictures import corpus, photo

LIMITS = Limits(photo_pixels=1_000_000, photo_bytes=1_000_000)
SEED_BYTES = 20_000
FLAGS = ["-max_len=20000", "-timeout=5", "-rss_limit_mb=1000"]


def decode_one(data: bytes) -> None:
    """One picture; what is wrong with it is told by a PhotoError alone."""
    try:
        decode_photo(data, LIMITS)
    except PhotoError:
        return


def write_seeds(folder: Path) -> None:
    """The small ones of the hostile corpus, and pictures that are nobody's enemy."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "jpg").write_bytes(photo("JPEG", 24, progressive=True))
    (folder / "webp").write_bytes(photo("WEBP", 24))
    for number, one in enumerate(corpus()):
        data = one.make()
        if len(data) <= SEED_BYTES:
            (folder / f"hostile-{number}").write_bytes(data)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    write_seeds(Path(sys.argv[1]))
    atheris.Setup([sys.argv[0], *FLAGS, *sys.argv[1:]], decode_one)
    atheris.Fuzz()
