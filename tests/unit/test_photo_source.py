"""Pictures from a bucket: a fault of one picture concerns that picture only; an unreachable store concerns them all."""

import json
import unicodedata

import pytest

from shared.buckets import BucketError, FolderBucket, MemoryBucket, StoreUnavailable
from shared.contract.visible import visible
from shared.errors import PhotoUnavailable
from shared.lifecycle.bucket_photos import PhotoSource, make_fetcher
from shared.settings import Settings


class Failing(MemoryBucket):
    """A bucket that raises the same error for every read."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def get(self, key, largest=None):
        raise self._error

    def head(self, key):
        raise self._error


def test_a_picture_that_is_not_there_or_cannot_be_is_none():
    source = PhotoSource(MemoryBucket())
    for key in ("photos/none.jpg", "../x.jpg", "a\x9b.jpg", "\udc80.jpg"):
        assert source.read(key) is None
        assert source.size(key) is None


def test_a_picture_that_may_not_be_read_is_an_error_of_that_picture_that_shows_no_path():
    source = PhotoSource(Failing(BucketError("/srv/photog/photos/a.jpg: Permission denied")))
    assert source.size("photos/a.jpg") is None, "reading it tells why"
    with pytest.raises(OSError, match="does not let") as caught:
        source.read("photos/a.jpg")
    assert "/srv" not in str(caught.value)


def test_a_store_that_is_away_is_no_picture_s_fault():
    source = PhotoSource(Failing(StoreUnavailable("down")))
    for ask in (source.read, source.size):
        with pytest.raises(StoreUnavailable):
            ask("photos/a.jpg")


DECOMPOSED, COMPOSED = (unicodedata.normalize(form, "photos/Zoë/müller.jpg") for form in ("NFD", "NFC"))


def said(bucket, reference: str) -> str:
    """Return why a picture cannot be read from the bucket."""
    (error,) = make_fetcher(bucket, {"other": bucket}, Settings()).fetch([reference])
    assert isinstance(error, PhotoUnavailable), error
    return error.message


@pytest.mark.parametrize(
    ("there", "asked"),
    [
        (DECOMPOSED, COMPOSED),
        (COMPOSED, DECOMPOSED),
        (unicodedata.normalize("NFD", "photos/Zoë/") + COMPOSED.rpartition("/")[2], COMPOSED),
        (DECOMPOSED, "s3://other/" + COMPOSED),
    ],
)
def test_a_key_that_differs_in_normalization_alone_is_named(there, asked):
    bucket = MemoryBucket()
    bucket.put(there, b"x")
    message = said(bucket, asked)
    assert "is not in the bucket" in message
    assert there in message
    assert json.dumps(there) in message, "also as it can be told from the other, and written into JSON"
    assert "normalization" in message


def test_a_key_that_differs_in_capitals_or_kinds_of_spaces_is_named():
    bucket = MemoryBucket()
    bucket.put("photos/IMG_1.JPG", b"x")
    bucket.put("photos/Screenshot 10.00\u202fAM.png", b"x")
    assert "photos/IMG_1.JPG" in said(bucket, "photos/img_1.jpg")
    assert "10.00\\u202fAM" in said(bucket, "photos/Screenshot 10.00 AM.png")
    assert "but" not in said(bucket, "photos/img_2.jpg")


UNSEEN = [
    "\xa0",
    "\u202f",
    "\u3000",
    "\xad",
    "\u200b",
    "\u202e",
    "\u2066",
    "\ufeff",
    "\u3164",
    "\u034f",
    "\ufe0f",
    "\U000e0041",
]


@pytest.mark.parametrize("character", UNSEEN)
def test_a_hint_spells_out_what_nobody_sees_of_either_key(character):
    odd, plain = f"photos/a{character}b.jpg", f"photos/a{' ' if character.isspace() else ''}b.jpg"
    for there, asked in ((odd, plain), (plain, odd)):
        bucket = MemoryBucket()
        bucket.put(there, b"x")
        message = said(bucket, asked)
        assert "is not in the bucket, but" in message
        assert visible(odd) in message
        assert visible(odd).isascii()
        assert character not in message


def test_a_hint_that_cannot_be_had_costs_nothing():
    class Unlisted(MemoryBucket):
        def list(self, prefix, after=""):
            raise BucketError("access denied")

    assert said(Unlisted(), COMPOSED) == f"{COMPOSED} is not in the bucket"


@pytest.mark.parametrize("kind", ["memory", "folder"])
@pytest.mark.parametrize(
    ("key", "plain"),
    [
        ("photos//b.jpg", "photos/b.jpg"),
        ("/lead.jpg", "lead.jpg"),
        ("photos/b.jpg/", "photos/b.jpg"),
        ("photos///x//b.jpg", "photos/x/b.jpg"),
        ("s3://other//lead.jpg", "lead.jpg"),
        ("photos/./dot.jpg", "whole name"),
        ("photos/../b.jpg", "whole name"),
        ("s3://other/", "name of an object"),
        ("photos\\b.jpg", "separated by /"),
        ("photos/a\x07.jpg", "control"),
        ("photos/" + "ä" * 520 + ".jpg", "1024 bytes"),
    ],
)
def test_what_cannot_be_a_key_is_said_to_be_none_with_what_to_do(kind, key, plain, tmp_path):
    bucket = MemoryBucket() if kind == "memory" else FolderBucket(tmp_path)
    bucket.put("photos/b.jpg", b"x")
    bucket.put("lead.jpg", b"x")
    message = said(bucket, key)
    assert "cannot be a key" in message
    assert plain in message
