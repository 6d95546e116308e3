"""Hostile pictures: each is decoded or refused by name, within time and memory; so is whatever hypothesis finds."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import PhotoError
from shared.photos import decode_photo
from shared.settings import Limits
from tests.hostile.pictures import HostilePicture, corpus, largest, photo, progressive, starving

ROOT = Path(__file__).parents[2]
EXAMPLES = int(os.environ.get("PHOTOG_FUZZ_EXAMPLES", "120"))
MEGABYTE = 1_000_000
SECONDS, PEAK = 2, 250 * MEGABYTE  # measured 0.4 s and 172 MB; without its bound each takes minutes or gigabytes
LARGEST_SECONDS, LARGEST_PEAK = 20, 1_250 * MEGABYTE  # measured 2.5 s and 1,170 MB, the process itself included
LONGEST_MESSAGE = 300


def decoded(kind: str, pictures: list[HostilePicture]) -> list[tuple[HostilePicture, dict]]:
    command = [sys.executable, "-m", "tests.hostile.decoding", kind]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return list(zip(pictures, rows, strict=True))


def faults(one: HostilePicture, row: dict) -> list[str]:
    """What is wrong with how a picture was decoded or refused."""
    wrong = []
    if row["outcome"] != (one.expected or row["outcome"]):
        wrong.append(f"{row['outcome']} instead of {one.expected}: {row['message']}")
    if one.says not in row["message"] or len(row["message"]) > LONGEST_MESSAGE:
        wrong.append(f"it says {row['message'][:LONGEST_MESSAGE]}")
    return wrong


def test_each_of_eighty_hostile_pictures_is_decoded_or_refused_at_once_and_within_memory():
    rows = decoded("corpus", corpus())
    assert {one.name: wrong for one, row in rows if (wrong := faults(one, row))} == {}
    assert {one.name: row["seconds"] for one, row in rows if row["seconds"] > SECONDS} == {}
    assert {one.name: row["peak"] // MEGABYTE for one, row in rows if row["peak"] > PEAK} == {}


def test_a_picture_that_there_is_no_memory_for_is_refused_and_the_process_goes_on():
    rows = decoded("starving", starving())
    assert {one.name: wrong for one, row in rows if (wrong := faults(one, row))} == {}
    assert not [row["name"] for _, row in rows if row["outcome"] == "OK"]


@pytest.mark.slow
def test_the_largest_pictures_that_are_accepted_take_one_and_a_quarter_gigabytes_at_most():
    rows = decoded("largest", largest())
    assert {one.name: wrong for one, row in rows if (wrong := faults(one, row))} == {}
    assert {one.name: row["seconds"] for one, row in rows if row["seconds"] > LARGEST_SECONDS} == {}
    assert {one.name: row["whole"] // MEGABYTE for one, row in rows if row["whole"] > LARGEST_PEAK} == {}


SMALL = Limits(photo_pixels=1_000_000, photo_bytes=1_000_000)
SEEDS = [
    photo("JPEG", 40),
    photo(
        "JPEG", 40, progressive=True, comment=b"x" * 20, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0"
    ),
    progressive(40, 40, 3, 3),
    photo("MPO", 24, save_all=True),
    photo("PNG", 24),
    photo("WEBP", 40),
    photo("WEBP", 24, lossless=True),
    photo("AVIF", 40),
    photo("AVIF", 24, save_all=True),
]
damage = st.lists(
    st.tuples(st.sampled_from(["set", "insert", "delete", "repeat", "cut"]), st.floats(0, 1), st.binary(max_size=12)),
    min_size=1,
    max_size=8,
)


def damaged(whole: bytes, edits: list[tuple[str, float, bytes]]) -> bytes:
    data = bytearray(whole)
    for kind, where, content in edits:
        place = int(where * len(data))
        if kind == "set":
            data[place : place + len(content)] = content
        elif kind == "insert":
            data[place:place] = content
        elif kind == "delete":
            del data[place : place + len(content)]
        elif kind == "repeat":
            data[place:place] = data[place : place + 40 * len(content)]
        else:
            del data[place + 1 :]
    return bytes(data)


def decoded_or_refused(data: bytes) -> None:
    refusal = None
    try:
        image = decode_photo(data, SMALL).image
    except PhotoError as error:
        refusal = error.message
    if refusal is not None:
        assert 0 < len(refusal) <= LONGEST_MESSAGE
        return
    assert image.dtype == np.uint8
    assert image.shape[2:] == (3,)
    assert 0 < image.size <= 3 * SMALL.photo_pixels


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.sampled_from(SEEDS), damage)
def test_a_damaged_picture_is_decoded_or_refused(whole, edits):
    decoded_or_refused(damaged(whole, edits))


@settings(max_examples=EXAMPLES // 2, deadline=None)
@given(
    st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\xff\0\0\0WEBPVP8X"]), st.binary(max_size=200)
)
def test_any_bytes_behind_the_first_ones_of_a_format_are_decoded_or_refused(beginning, rest):
    decoded_or_refused(beginning + rest)
