"""What the page tells a person: verdicts in plain words, and every knob of a portrait with its meaning."""

import pytest

from page import texts
from page.following import Follower
from page.knobs import GROUPED, NOT_KNOBS, list_knobs
from page.settings import PageSettings
from page.verdict import crop_square, read_verdict
from shared.buckets import MemoryBucket
from shared.contract import keys
from shared.contract.manifests import encode, running, success
from shared.operations.client import Client
from shared.runtime.request_models import request_model
from tests.clock import Clock


def test_every_knob_of_generate_is_on_the_page_once_with_a_name_and_a_meaning():
    model = request_model("generate")
    assert model is not None
    every = set(model.model_fields["configure"].annotation.model_fields) - NOT_KNOBS
    grouped = [name for group in GROUPED for name in group]
    assert sorted(grouped) == sorted(every)
    assert set(texts.KNOB) == every
    assert len(GROUPED) == len(texts.GROUPS) == 4
    assert all(label and hint for label, hint in texts.KNOB.values())
    knobs = list_knobs()
    assert (knobs["more_like_me"].kind, knobs["more_like_me"].default) == ("share", 0.5)
    assert (knobs["first_diffusion_steps"].least, knobs["first_diffusion_steps"].most) == (1, 200)
    assert {one for knob in knobs.values() for one in knob.choices} == set(texts.CHOICES)


@pytest.mark.parametrize(
    ("code", "warnings", "title"),
    [
        (3, ["2 faces were found"], texts.TWO_FACES[0]),
        (3, ["5 faces were found"], "5 faces"),
        (3, ["no face was found"], texts.NO_FACE[0]),
        (3, ["the face is cut off by the border"], texts.CUT_FACE[0]),
        (3, ["no face was found; the photo is upside down: rotate it"], texts.UPSIDE_DOWN[0]),
        (2, ["not a picture"], texts.UNREADABLE[0]),
        (6, [], texts.STRANGER[0]),
        (99, ["new reason"], texts.UNUSABLE),
    ],
)
def test_a_photo_that_cannot_be_used_gets_a_reason_and_what_to_do(code, warnings, title):
    verdict = read_verdict({"code": code, "warnings": warnings})
    assert (verdict.usable, verdict.title) == (False, title)
    assert verdict.advice


def test_a_good_photo_is_good_and_a_blurred_one_says_so():
    good = read_verdict({"code": 1, "quality": 0.8, "warnings": []})
    assert (good.title, good.advice) == (texts.GOOD, "")
    blurred = read_verdict({"code": 1, "quality": 0.8, "warnings": ["the face is blurred"]})
    assert blurred.title == texts.FAIR
    assert "blurred" in blurred.advice


def test_the_box_lies_on_the_face_in_a_square_that_keeps_the_face():
    face = {"left": 800, "top": 100, "right": 900, "bottom": 200}
    across, down, box = crop_square(read_verdict({"code": 1, "face": face, "width": 1000, "height": 500}))
    assert (across, down) == (100.0, 50.0)
    assert box == {"left": 60.0, "top": 20.0, "width": 20.0, "height": 20.0}
    assert crop_square(read_verdict({"code": 3, "width": 10, "height": 10}))[2] is None


class Counting(MemoryBucket):
    """Counts its reads."""

    reads = 0

    def get(self, key, largest=None):
        self.reads += 1
        return super().get(key, largest)


def test_a_request_that_many_tabs_wait_for_is_looked_at_once():
    bucket, clock = Counting(), Clock()
    follower = Follower(Client(bucket), PageSettings(), clock)
    for _ in range(50):
        follower.look("train", "one")
    progress = {"stage": "training", "step": 2, "steps": 9, "loss": 0.5, "likeness": 0.4}
    bucket.put(keys.progress("train", "one"), encode(running("one", progress)))
    follower.refresh()
    assert bucket.reads <= 2
    seen = follower.look("train", "one")
    assert (seen.curve, seen.likeness) == ([(2, 0.5)], [(2, 0.4)])
    bucket.put(keys.result("train", "one"), encode(success("one", "", {})))
    follower.refresh()
    assert follower.look("train", "one").answer is not None
    reads = bucket.reads
    follower.refresh()
    assert bucket.reads == reads, "an answer is read once"
    clock.now += 60
    follower.look("train", "two")
    follower.refresh()
    assert ("train", "one") not in follower._seen, "nobody waits for it any more"
