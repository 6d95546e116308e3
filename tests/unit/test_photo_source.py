"""Pictures out of a bucket: what is wrong with one of them is its own matter, a store that is away is not."""

import pytest

from shared.buckets import BucketError, MemoryBucket, StoreUnavailable
from shared.photo_source import PhotoSource


class Failing(MemoryBucket):
    """A bucket that answers every reader with one error."""

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
