"""Makes the pictures of the page in docs/pictures: `python -m tools.page_screenshots`, with Debian's chromium.

It runs the page on a bucket of its own, with the photos of `make demo`, and does what a person would do. Some minutes.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import cv2
import skimage.data
from matplotlib.cbook import get_sample_data
from PIL import Image as Pillow
from playwright.sync_api import Browser, Page

from demo.__main__ import make_photos
from tests.browser import CHROMIUM, open_browser, run_page

OUT = Path(__file__).parents[1] / "docs/pictures"
WIDE, NARROW = (1440, 1000), (390, 844)
WIDEST = 1000  # pixels, so that a picture has about 80 KB
LONGEST_MS = 600_000  # for a portrait on a busy machine


def main() -> int:
    """Make all pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--train", type=int, default=60, help="steps of the training that is shown; 0 leaves it out")
    options = parser.parse_args()
    if CHROMIUM is None:
        print("there is no chromium: apt-get install chromium", file=sys.stderr)
        return 1
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="photog-page-") as folder:
        photos = make_bucket(Path(folder))
        with run_page(Path(folder) / "bucket", "--workers") as address, open_browser() as browser:
            take_all(browser, address, photos, options.out, options.train)
    return 0


def make_bucket(folder: Path) -> list[Path]:
    """Make the bucket with templates; returns the photos to upload, two of which cannot be used."""
    face = cv2.cvtColor(skimage.data.astronaut(), cv2.COLOR_RGB2BGR)
    photos = make_photos(face, folder / "photos")
    pair, cat = folder / "photos/pair.jpg", folder / "photos/cat.jpg"
    cv2.imwrite(str(pair), cv2.hconcat([face[:300, 80:380], face[:300, 380:80:-1]]))
    cv2.imwrite(str(cat), cv2.cvtColor(skimage.data.chelsea(), cv2.COLOR_RGB2BGR))
    templates = folder / "bucket/templates"
    templates.mkdir(parents=True)
    source = get_sample_data("grace_hopper.jpg", asfileobj=False)
    shutil.copy(source, templates / "grace.jpg")
    with Pillow.open(source) as picture:
        picture.transpose(Pillow.Transpose.FLIP_LEFT_RIGHT).save(templates / "grace_mirrored.jpg", quality=92)
        picture.convert("L").save(templates / "grace_gray.jpg", quality=92)
        group = Pillow.new("RGB", (800, 500))
        group.paste(picture.crop((60, 0, 460, 500)), (0, 0))
        group.paste(Pillow.fromarray(skimage.data.astronaut()).crop((30, 0, 430, 500)), (400, 0))
        group.save(templates / "two_faces.jpg", quality=92)
    return [*photos, pair, cat]


def take_all(browser: Browser, address: str, photos: list[Path], out: Path, steps: int) -> None:
    """Do what a person and an operator would do, and take the pictures."""
    with open_page(browser, WIDE, "light") as page:
        page.goto(address)
        page.set_input_files(".photos .q-uploader__input", photos)
        page.wait_for_function(
            f"document.querySelectorAll('.photo-usable, .photo-unusable').length == {len(photos)}", timeout=LONGEST_MS
        )
        page.fill(".person input", "Eileen")
        page.click(".template >> nth=0")
        page.click(".make-button")
        page.wait_for_timeout(4000)
        take(page, out / "page-making.jpg")
        page.wait_for_selector(".compare", timeout=LONGEST_MS)
        page.wait_for_timeout(1500)
        page.evaluate("window.scrollTo(0, 0)")
        take(page, out / "page-portrait.jpg")
        page.emulate_media(color_scheme="dark")
        take(page, out / "page-portrait-dark.jpg")
        page.emulate_media(color_scheme="light")
        if steps:
            page.click(".train-options .q-item")
            page.wait_for_timeout(600)
            page.fill(".train-options input", str(steps))
            page.click(".train-options .q-btn")
            enough = "document.querySelectorAll('.validation').length >= 6 || document.querySelector('.failure')"
            page.wait_for_function(enough, timeout=LONGEST_MS)
            page.wait_for_timeout(1500)
            page.evaluate("window.scrollTo(0, 0)")
            take(page, out / "page-training.jpg")
            page.wait_for_selector(".validation-best, .failure", timeout=LONGEST_MS)
        page.click("[aria-label='Template two_faces']")
        page.wait_for_selector(".cast-face", timeout=LONGEST_MS)
        page.locator(".templates").scroll_into_view_if_needed()
        page.wait_for_timeout(1000)
        take(page, out / "page-group.jpg", ".templates")
        page.set_viewport_size({"width": NARROW[0], "height": NARROW[1]})
        page.wait_for_timeout(500)
        take(page, out / "page-narrow.jpg")
        page.locator(".compare").scroll_into_view_if_needed()
        page.wait_for_timeout(500)
        take(page, out / "page-narrow-portrait.jpg")
    for name, size, scheme in (("", WIDE, "light"), ("-dark", WIDE, "dark"), ("-narrow", NARROW, "dark")):
        with open_page(browser, size, scheme) as page:
            page.goto(address + "operation")
            page.wait_for_selector(".rows")
            page.wait_for_timeout(12_000)
            take(page, out / f"page-operation{name}.jpg")
            page.goto(address + "people")
            page.wait_for_selector(".person-card")
            page.wait_for_timeout(1500)
            take(page, out / f"page-people{name}.jpg")


@contextmanager
def open_page(browser: Browser, size: tuple[int, int], scheme: str) -> Iterator[Page]:
    """Open a tab of a size, light or dark."""
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)  # type: ignore[arg-type]
    yield context.new_page()
    context.close()


def take(page: Page, out: Path, part: str = "") -> None:
    """Take what the tab shows, or a part of it, as a JPEG that is small enough for a repository."""
    shown = page.locator(part).screenshot() if part else page.screenshot()
    with Pillow.open(BytesIO(shown)) as picture:
        picture.thumbnail((WIDEST, WIDEST), Pillow.Resampling.LANCZOS)
        picture.convert("RGB").save(out, quality=80, optimize=True)


if __name__ == "__main__":
    sys.exit(main())
