"""`make demo`: make photos of one person from one public-domain picture, then run the command that a user would run.

No package has several real photos of one person, so they are made from one picture by cropping, tilting, relighting and
mirroring it.
"""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import skimage.data
from matplotlib.cbook import get_sample_data

OUT = Path("out/demo")
PHOTOS = 6
SIDE = 640  # width and height of a photo in pixels


def main() -> int:
    """Prepare the pictures, run the command that a user would type, and print the path of the contact sheet."""
    photos = make_photos(cv2.cvtColor(skimage.data.astronaut(), cv2.COLOR_RGB2BGR), OUT / "photos")
    template = OUT / "template.png"
    picture = Path(get_sample_data("grace_hopper.jpg", asfileobj=False)).read_bytes()
    cv2.imwrite(str(template), cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR))
    sheet = OUT / "contact-sheet.png"
    arguments = ["--template", template, "--user", "eileen", "--bucket", OUT / "bucket"]
    arguments += ["--out", OUT / "portrait.png", "--sheet", sheet]
    command = ["photog", "portrait", *photos, *arguments]
    say(f"made {len(photos)} photos from one picture of Eileen Collins (NASA); template: Grace Hopper (US Navy)")
    say("$ " + " ".join(map(str, command)))
    code = subprocess.run([sys.executable, "-P", "-m", "shared.cli", *map(str, command[1:])], check=False).returncode
    if code == 0:
        say(str(sheet.resolve()))
    return code


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
