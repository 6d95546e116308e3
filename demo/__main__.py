"""`make demo`: make photos of one person from one public-domain picture, then do what a user would do.

Real photos of one person do not come with any package; crops, tilts, light and mirroring of one picture stand in.
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
SIDE = 640  # pixels of a photo


def main() -> int:
    """Prepare the pictures, run the command that a user would type, say where the contact sheet is."""
    photos = make_photos(cv2.cvtColor(skimage.data.astronaut(), cv2.COLOR_RGB2BGR), OUT / "photos")
    template = OUT / "template.png"
    picture = Path(get_sample_data("grace_hopper.jpg", asfileobj=False)).read_bytes()
    cv2.imwrite(str(template), cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR))
    sheet = OUT / "contact-sheet.png"
    arguments = ["--template", template, "--user", "eileen", "--bucket", OUT / "bucket"]
    arguments += ["--out", OUT / "portrait.png", "--sheet", sheet]
    command = ["photog", "portrait", *photos, *arguments]
    say(f"{len(photos)} photos made from one picture of Eileen Collins (NASA); template: Grace Hopper (US Navy)")
    say("$ " + " ".join(map(str, command)))
    code = subprocess.run([sys.executable, "-P", "-m", "shared.cli", *map(str, command[1:])], check=False).returncode
    if code == 0:
        say(str(sheet.resolve()))
    return code


def make_photos(picture: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]", folder: Path) -> list[Path]:
    """Write several photos of the person of `picture` (BGR), each with its own crop, tilt, light and side."""
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
    """To the person at the terminal."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
