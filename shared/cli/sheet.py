"""The contact sheet: photos with their verdicts, the template, each stage and the portrait in one picture."""

import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image as Pictures
from PIL import ImageDraw, ImageFont, ImageOps

from shared.contract.manifests import Json
from shared.operations.client import Client

WIDTH = 1600  # pixels of the sheet, at most
NARROWEST = 480  # pixels of it, with room for headings
MARGIN = 16
CAPTION = 22  # height of a line of text
LETTER = 8  # width of most letters
MOST_LINES = 6  # of a caption
BACKGROUND, INK, FAINT, VACANT = (250, 249, 246), (30, 30, 30), (120, 120, 120), (232, 230, 224)


@dataclass(frozen=True)
class Cell:
    """One picture with a caption below it."""

    picture: Pictures.Image
    caption: str


@dataclass(frozen=True)
class Row:
    """Pictures of equal height under a heading."""

    heading: str
    cells: Sequence[Cell]
    height: int


def contact_sheet(
    client: Client,
    checked: Json | None,
    trained: Json | None,
    template: Path,
    made: Json,
    out: Path,
    threshold: str,
    names: Sequence[str],
) -> None:
    """Draw all steps of one portrait and write the sheet to `out`, whose name ends with one of `SHEET_SUFFIXES`.

    Args:
        client: where the pictures are.
        checked, trained: the answers of check and train; None if there was no such request.
        template: the template's file.
        made: the answer of generate.
        out: the file.
        threshold: what the figures of likeness mean.
        names: of the checked photos, in their order.
    """
    rows = [
        *photo_rows(client, checked, names),
        *training_rows(client, trained),
        *stage_rows(client, made),
        Row(
            describe_likeness(made, threshold),
            [
                Cell(open_picture(template.read_bytes()), f"template {template.name}"),
                Cell(load_picture(client, made["data"]["image_key"]), "portrait"),
            ],
            760,
        ),
    ]
    save(rows, out)


def draw_grid(rows: Sequence[tuple[str, Sequence[Path], str]], out: Path) -> None:
    """Draw portraits beside each other, and write the picture to a file.

    Args:
        rows: templates, each with the files of its portraits, and why there are none or fewer than were wanted, or "".
        out: the file, whose name ends with one of `SHEET_SUFFIXES`.
    """
    drawn = []
    for template, portraits, why in rows:
        cells = [Cell(open_picture(Path(template).read_bytes()), "template")]
        cells += [Cell(open_picture(one.read_bytes()), one.name) for one in portraits]
        cells += [Cell(Pictures.new("RGB", (1, 1), VACANT), f"no portrait: {why}")] if why else []
        drawn.append(Row(Path(template).name, cells, 420))
    save(drawn, out)


def save(rows: Sequence[Row], out: Path) -> None:
    """Draw the rows below each other and write the sheet to a file."""
    out.parent.mkdir(parents=True, exist_ok=True)
    draw(rows).save(out)


def photo_rows(client: Client, checked: Json | None, names: Sequence[str]) -> list[Row]:
    """Return the row of the photos with check's verdicts and the reasons; none if nothing was checked.

    Args:
        client: where the pictures are.
        checked: check's answer.
        names: the user's names of the photos, in their order.
    """
    results = [] if checked is None else checked["data"]["check_results"]
    photos = [
        Cell(load_picture(client, one["url"]), f"{Path(name).name}: {describe_verdict(one)}")
        for name, one in zip(names, results, strict=False)
        if not one["url"].startswith(("http", "data:"))
    ]
    return [Row("Photos and their verdicts", photos, 200)] if photos else []


def describe_verdict(one: Json) -> str:
    """Return a photo's verdict; the reason in place of the message, where there is one."""
    if one["code"] == 1:
        return "usable, frontal" if one["frontal"] else "usable"
    return next(iter(one["warnings"]), str(one["message"]))


def stage_rows(client: Client, made: Json) -> list[Row]:
    """Return the row of the pictures after each stage, as far as they were kept."""
    stages = [Cell(load_picture(client, key), name) for name, key in made["data"].get("stages", {}).items()]
    return [Row("Stages", stages, 300)] if stages else []


def draw(rows: Sequence[Row]) -> Pictures.Image:
    """Draw the rows below each other; a row that is too wide is made lower until it fits.

    The sheet is as wide as its widest row.
    """
    laid = [(row, _fit(row)) for row in rows]
    told = [[_wrap(cell.caption, one.width) for cell, one in zip(row.cells, cells, strict=True)] for row, cells in laid]
    deep = [max(len(lines) for lines in row) for row in told]
    height = MARGIN + sum(
        (1 + lines) * CAPTION + cells[0].height + MARGIN for (_, cells), lines in zip(laid, deep, strict=True)
    )
    font = ImageFont.load_default(size=15)
    widths = [sum(one.width for one in cells) + (len(cells) - 1) * (MARGIN // 2) for _, cells in laid]
    widths += [int(font.getlength(row.heading)) for row, _ in laid]
    sheet = Pictures.new("RGB", (min(WIDTH, max(NARROWEST, *widths) + 2 * MARGIN), height), BACKGROUND)
    pen = ImageDraw.Draw(sheet)
    top = MARGIN
    for (row, pictures), captions, lines in zip(laid, told, deep, strict=True):
        pen.text((MARGIN, top), row.heading, INK, font)
        left = MARGIN
        for caption, picture in zip(captions, pictures, strict=True):
            sheet.paste(picture, (left, top + CAPTION))
            for number, line in enumerate(caption):
                pen.text((left, top + CAPTION + picture.height + 2 + number * CAPTION), line, FAINT, font)
            left += picture.width + MARGIN // 2
        top += (1 + lines) * CAPTION + pictures[0].height + MARGIN
    return sheet


def describe_likeness(made: Json, threshold: str) -> str:
    """Return the heading of a portrait; a face that was not found in it has no figure."""
    similarity = made["data"]["faces"][0]["similarity"]
    before, after = ("unknown" if similarity[one] is None else f"{similarity[one]:.2f}" for one in ("before", "after"))
    return f"Similarity to the person {before} before, {after} after: {threshold}"


def training_rows(client: Client, trained: Json | None) -> list[Row]:
    """Return the row of a training's validation sheet; none if nothing was trained."""
    data = {} if trained is None else trained["data"]
    if not data.get("validation"):
        return []
    heading = f"Training: step {data['best_step']} of {data['steps']} chosen"
    if stopped := data.get("stopped"):
        heading += f", ended at step {stopped['step']}"
    sheet = Cell(load_picture(client, data["validation"]), "validation pictures by step, similarity above")
    return [Row(heading, [sheet], 360)]


def _fit(row: Row) -> list[Pictures.Image]:
    room = WIDTH - 2 * MARGIN - (len(row.cells) - 1) * (MARGIN // 2)
    shapes = sum(cell.picture.width / cell.picture.height for cell in row.cells)
    height = min(row.height, int(room / shapes))
    return [
        cell.picture.resize((max(1, round(cell.picture.width * height / cell.picture.height)), height))
        for cell in row.cells
    ]


def load_picture(client: Client, key: str) -> Pictures.Image:
    """Return an object as a picture, or a gray square if it is not one, as a refused photo may be."""
    return open_picture(client.bucket.get(key))


def open_picture(data: bytes) -> Pictures.Image:
    """Return a file's content as a picture, or a gray square if it is not one."""
    try:
        return ImageOps.exif_transpose(Pictures.open(io.BytesIO(data))).convert("RGB")
    except (OSError, SyntaxError):
        return Pictures.new("RGB", (200, 200), (200, 200, 200))


def _wrap(text: str, width: int) -> list[str]:
    """Return a caption in lines that fit under a picture so many pixels wide; the last one is cut if there are more."""
    return textwrap.wrap(text, max(8, width // LETTER), max_lines=MOST_LINES, placeholder="…") or [""]
