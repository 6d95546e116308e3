"""`make demo`: make photos of one person from one public-domain picture, then run the commands that a user would run.

No package has several real photos of one person, so they are made from one picture by cropping, tilting, relighting and
mirroring it. The portrait is made twice, without a training and with one, and the sheet shows both beside each other.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import skimage.data
from matplotlib.cbook import get_sample_data

from shared.buckets import FolderBucket
from shared.cli import sheet
from shared.cli.likeness import THRESHOLDS
from shared.cli.portrait import KEEP_STAGES
from shared.contract import keys
from shared.contract.manifests import Json
from shared.operations.client import Client
from shared.settings import Settings

OUT = Path("out/demo")
PHOTOS = 6
SIDE = 640  # width and height of a photo in pixels
WAYS = {
    "instant": ["--no-train"],
    "trained": ["--train"],
}  # in this order: a training replaces kept photos
PAGE = """
All of it is in a bucket, and a page shows it. Run
    photog page {bucket}
and open the address that it prints: drop pictures of {photos} to see them checked, choose the template
and make a portrait; under People is eileen with her photos, both portraits and the training, and the way to
forget her; under Operation is every request."""


def main() -> int:
    """Prepare the pictures, run the commands that a user would type, and print the path of the contact sheet."""
    photos = make_photos(cv2.cvtColor(skimage.data.astronaut(), cv2.COLOR_RGB2BGR), OUT / "photos")
    template = OUT / "template.png"
    picture = Path(get_sample_data("grace_hopper.jpg", asfileobj=False)).read_bytes()
    cv2.imwrite(str(template), cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR))
    say(f"made {len(photos)} photos from one picture of Eileen Collins (NASA); template: Grace Hopper (US Navy)")
    made: dict[str, Json] = {}
    for way, options in WAYS.items():
        arguments = [*photos, "--template", template, "--user", "eileen", "--bucket", OUT / "bucket", *options]
        arguments += ["--out", OUT / f"portrait-{way}.png", "--json"]
        say("$ photog portrait " + " ".join(map(str, arguments)))
        command = [sys.executable, "-P", "-m", "shared.cli", "portrait", *map(str, arguments)]
        started = time.monotonic()
        done = subprocess.run(command, stdout=subprocess.PIPE, env=os.environ | KEEP_STAGES, check=False)
        if done.returncode:
            say(done.stdout.decode())
            return done.returncode
        made[way] = json.loads(done.stdout)
        say(f"{describe(way, made[way])}; the command took {time.monotonic() - started:.0f} s")
    drawn = OUT / "contact-sheet.png"
    draw_sheet(made, template, photos, drawn)
    say(str(drawn.resolve()))
    templates = OUT / "bucket" / keys.TEMPLATES
    templates.mkdir(exist_ok=True)
    shutil.copy(template, templates / "grace-hopper.png")
    say(PAGE.format(bucket=OUT / "bucket", photos=OUT / "photos"))
    return 0


def describe(way: str, answers: Json) -> str:
    """Return the seconds of work in these answers, and the likeness of the portrait.

    The seconds are those of the answers, without the start of the workers; of a command that is repeated, they are the
    first one's.
    """
    seconds = sum(answers[name]["data"]["cost_time"] for name in ("check", "train", "generate") if name in answers)
    after = answers["generate"]["data"]["faces"][0]["similarity"]["after"]
    return f"{way}: {seconds:.1f} s of work, similarity {after:.2f}"


def draw_sheet(made: dict[str, Json], template: Path, photos: list[Path], out: Path) -> None:
    """Draw the photos, the training, the stages, and the portraits of both ways beside the template."""
    client = Client(FolderBucket(OUT / "bucket"))
    heading = sheet.describe_likeness(made["instant"]["generate"], THRESHOLDS[Settings().faces.engine])
    portraits = [
        sheet.Cell(sheet.load_picture(client, answers["generate"]["data"]["image_key"]), describe(way, answers))
        for way, answers in made.items()
    ]
    rows = [
        *sheet.photo_rows(client, made["instant"]["check"], [str(one) for one in photos]),
        *sheet.training_rows(client, made["trained"]["train"]),
        *sheet.stage_rows(client, made["instant"]["generate"]),
        sheet.Row(heading, [sheet.Cell(sheet.open_picture(template.read_bytes()), "template"), *portraits], 760),
    ]
    sheet.save(rows, out)


def make_photos(picture: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]", folder: Path) -> list[Path]:
    """Write several photos of the person in `picture`, which differ in crop, tilt, light and mirroring.

    Args:
        picture: BGR, uint8, (H, W, 3).
        folder: where to write them; it is created if it is missing.

    Returns:
        The paths of the photos.
    """
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(3)
    face, paths = (222, 125), []
    for index in range(PHOTOS):
        zoom = generator.uniform(2.1, 2.7)
        matrix = cv2.getRotationMatrix2D(face, generator.uniform(-10, 10), zoom)
        matrix[:, 2] += (SIDE / 2, SIDE * 0.38) - np.array(face) + generator.uniform(-20, 20, 2)
        photo = cv2.warpAffine(picture, matrix, (SIDE, SIDE), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        photo = np.clip(photo * generator.uniform(0.8, 1.15) + generator.uniform(-10, 10), 0, 255).astype(np.uint8)
        if index % 2:
            photo = photo[:, ::-1]
        paths.append(folder / f"photo-{index + 1}.jpg")
        cv2.imwrite(str(paths[-1]), photo, [cv2.IMWRITE_JPEG_QUALITY, 95])
    return paths


def say(line: str) -> None:
    """Print a line to the terminal at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
