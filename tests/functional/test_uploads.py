"""Artifacts that are written beside the work, pictures that are fetched ahead of it."""

import threading

import pytest

from shared.buckets import BucketError, MemoryBucket
from shared.errors import PhotoUnavailable
from shared.lifecycle import prefetched_photos
from shared.lifecycle.prefetched_photos import PrefetchedPhotos
from shared.lifecycle.shutdown import ClaimLost
from shared.lifecycle.uploads import Uploads
from tests.clock import Clock


class SlowBucket(MemoryBucket):
    """Writes when it is told to; some writes fail first."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.fail: list[BucketError] = []
        self.order: list[str] = []

    def put(self, key, data):
        assert self.go.wait(20)
        self.order.append(key)
        if self.fail:
            raise self.fail.pop()
        super().put(key, data)


@pytest.fixture
def bucket() -> SlowBucket:
    return SlowBucket()


def test_nobody_waits_for_an_upload_until_the_answer_does(bucket):
    checks = []
    with Uploads(bucket, lambda: checks.append(1), beside=True) as uploads:
        for name in ("a", "b", "c"):
            uploads.add(name, name.encode())
        assert list(bucket.list("")) == []
        bucket.go.set()
        uploads.finish()
        assert bucket.order == ["a", "b", "c"]
        assert [bucket.get(name) for name in "abc"] == [b"a", b"b", b"c"]
    assert checks, "whether the attempt is still the request's is asked after the uploads"


def test_an_upload_that_fails_is_tried_again_before_the_answer_and_then_is_its_error(bucket):
    bucket.go.set()
    bucket.fail = [BucketError("once")]
    with Uploads(bucket, lambda: None, beside=True) as uploads:
        uploads.add("a", b"a")
        uploads.finish()
        assert bucket.get("a") == b"a"
        bucket.fail = [BucketError("again"), BucketError("once more")]
        uploads.add("b", b"b")
        with pytest.raises(BucketError, match="again"):
            uploads.finish()
        uploads.finish()
        assert bucket.get("b") == b"b"


def test_what_an_attempt_that_is_over_had_not_uploaded_is_never_written(bucket):
    def upload():
        with Uploads(bucket, lambda: None, beside=True) as uploads:
            uploads.add("a", b"a")
            uploads.add("b", b"b")
            threading.Timer(0.05, bucket.go.set).start()
            raise ClaimLost("r1 is answered by another attempt")

    with pytest.raises(ClaimLost):
        upload()
    assert [info.key for info in bucket.list("")] in ([], ["a"]), "the one under way may end, no other begins"


def test_uploads_beyond_their_memory_make_the_work_wait(bucket, monkeypatch):
    monkeypatch.setattr("shared.lifecycle.uploads.MOST_BYTES", 10)
    with Uploads(bucket, lambda: None, beside=True) as uploads:
        uploads.add("a", b"a" * 8)
        threading.Timer(0.05, bucket.go.set).start()
        uploads.add("b", b"b" * 8)
        assert bucket.get("a") == b"a" * 8


class CountingFetcher:
    """Fetches what it has, and counts."""

    def __init__(self, **files) -> None:
        self.files = files
        self.fetched: list[str] = []

    def fetch(self, references):
        self.fetched += references
        return [self.files.get(one) or PhotoUnavailable(f"no {one}") for one in references]


def test_photos_that_were_fetched_ahead_are_fetched_once_and_what_failed_is_tried_again():
    fetcher = CountingFetcher(a=b"a", b=b"b")
    photos = PrefetchedPhotos(fetcher)
    photos.prefetch("r1", {"images": ["a", "gone", 7, "data:image/png;base64,AAAA"], "template_image": "b"})
    assert fetcher.fetched == ["b", "a", "gone"]
    fetcher.files["gone"] = b"back"
    taken = photos.take("r1")
    assert taken.fetch(["a", "gone", "a", "b"]) == [b"a", b"back", b"a", b"b"]
    assert fetcher.fetched == ["b", "a", "gone", "gone"]
    assert taken.fetch(["a"]) == photos.take("r1").fetch(["a"]) == [b"a"]
    assert fetcher.fetched[-2:] == ["a", "a"], "each is given once"


def test_photos_that_were_fetched_ahead_are_for_that_request_alone():
    fetcher = CountingFetcher(a=b"old")
    photos = PrefetchedPhotos(fetcher)
    photos.prefetch("r1", {"images": ["a"]})
    fetcher.files["a"] = b"new"
    assert photos.take("r2").fetch(["a"]) == [b"new"]
    assert photos.take("r1").fetch(["a"]) == [b"old"], "which was sent before it was replaced"


def test_photos_that_were_fetched_ahead_are_bounded_in_memory_and_time(monkeypatch):
    monkeypatch.setattr(prefetched_photos, "MOST_BYTES", 3)
    clock = Clock()
    fetcher = CountingFetcher(a=b"aa", b=b"bb", **{str(number): b"x" for number in range(20)})
    photos = PrefetchedPhotos(fetcher, clock)
    photos.prefetch("r1", {"images": ["a", "b"]})
    assert photos._kept == {}
    photos.prefetch("r2", {"images": [str(number) for number in range(20)]})
    assert len(fetcher.fetched) <= 2 + 5, "no more is fetched than may be kept"
    photos.prefetch("r3", {"images": ["a"]})
    clock.now += prefetched_photos.KEPT_SECONDS + 1
    photos.take("r3").fetch(["a"])
    assert fetcher.fetched[-2:] == ["a", "a"]


def test_photos_that_are_dropped_while_they_are_fetched_are_not_kept():
    class Dropping(CountingFetcher):
        def fetch(self, references):
            photos.drop()
            return super().fetch(references)

    photos = PrefetchedPhotos(Dropping(a=b"a"))
    photos.prefetch("r1", {"images": ["a"]})
    assert photos._kept == {}
