"""What the page tells a person: verdicts in plain words, and every knob of a portrait with its meaning."""

import ast
import re
from pathlib import Path

import pytest

from page import texts
from page.cast import FaceBox
from page.following import Follower
from page.knobs import GROUPED, NOT_KNOBS, list_knobs
from page.settings import PageSettings
from page.studio import Studio, Taker
from page.verdict import crop_square, read_verdict
from shared import errors
from shared.buckets import MemoryBucket
from shared.contract import keys
from shared.contract.manifests import NOBODY, encode, running, success
from shared.operations.client import Client
from shared.runtime.request_models import request_model
from shared.settings import Settings
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
    face = [800, 100, 900, 200]
    square = crop_square(read_verdict({"code": 1, "face": face, "faces": [face], "width": 1000, "height": 500}))
    assert (square.whole, square.across, square.down) == (False, 100.0, 50.0)
    assert square.boxes == [{"left": 60.0, "top": 20.0, "width": 20.0, "height": 20.0}]


def test_every_face_of_a_photo_of_several_has_a_box_in_the_whole_photo():
    faces = [[0, 0, 250, 250], [750, 250, 1000, 500]]
    square = crop_square(read_verdict({"code": 3, "face": None, "faces": faces, "width": 1000, "height": 500}))
    assert square.whole
    assert [(one["left"], one["top"], one["width"], one["height"]) for one in square.boxes] == [
        (0.0, 25.0, 25.0, 25.0),
        (75.0, 50.0, 25.0, 25.0),
    ]
    assert crop_square(read_verdict({"code": 3, "width": 10, "height": 10})).boxes == []


def test_every_error_of_a_person_is_told_in_the_pages_words():
    types = set(texts.FAILURES)
    assert types <= {name for name, one in vars(errors).items() if isinstance(one, type)}
    assert all(title and advice and "configure." not in title + advice for title, advice in texts.FAILURES.values())


def test_the_faces_of_a_group_are_taken_by_persons_from_left_to_right():
    studio = Studio(MemoryBucket(), Settings(), PageSettings())
    draft = studio.drafts.begin()
    people = [Taker("anna", ("photos/1.jpg",)), Taker(NOBODY), Taker("bob")]
    request_id, body = studio.portray(draft, "templates/group.jpg", people, {"seed": 1})
    assert body["configure"]["user_id"] == ["anna", "none", "bob"]
    assert body["configure"]["references"] == [["photos/1.jpg"], [], []]
    assert body["configure"]["another_person"] == "refuse"
    assert studio.bucket.head(keys.request("generate", request_id)) is not None
    _, again = studio.portray_replacing(draft, body)
    assert again == body | {"configure": body["configure"] | {"another_person": "replace"}}
    _, alone = studio.portray(draft, "templates/one.jpg", [Taker(None, ("photos/1.jpg",))], {})
    assert alone["configure"] == {"references": ["photos/1.jpg"], "image_format": "png"}


def spell(node):
    """Return the texts that an expression consists of, apart from what it asks others for."""
    if isinstance(node, ast.Constant):
        return [node.value] if isinstance(node.value, str) else []
    inner = {ast.JoinedStr: ("values",), ast.IfExp: ("body", "orelse"), ast.BinOp: ("left", "right")}
    parts = [getattr(node, name) for name in inner.get(type(node), ())]
    return [text for part in parts for one in (part if isinstance(part, list) else [part]) for text in spell(one)]


def test_everything_that_people_read_is_in_the_file_of_texts():
    shown = {"label", "button", "input", "number", "select", "switch", "textarea", "expansion", "tooltip", "heading"}
    shown |= {"card", "announce", "set_text"}
    found = []
    for path in sorted(Path(texts.__file__).parent.glob("*.py")):
        calls = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
        for call in calls if path.name != "texts.py" else ():
            name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            literal = spell(call.args[0]) if call.args and name in shown else ()
            found += [f"{path.name}:{call.lineno}: {one}" for one in literal if re.search("[A-Za-z]", one)]
    assert found == []


def test_the_thumbnail_of_a_face_is_a_square_around_it():
    placed = FaceBox((100.0, 200.0, 200.0, 300.0), 1000, 800).crop()
    side = 160.0
    assert placed["width"] == 100 * 1000 / side
    assert placed["left"] == -100 * (150 - side / 2) / side
    assert placed["top"] == -100 * (250 - side / 2) / side


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
    progress = {"stage": "training", "step": 2, "steps": 9, "loss": 0.5, "likeness": 0.4, "validated": 2}
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


@pytest.mark.parametrize("number", [float("inf"), float("nan"), -(10**400), 10**400, "1", [2], None])
def test_a_verdict_of_numbers_that_photog_has_not_written_has_none(number):
    told = {"code": 1, "quality": number, "width": number, "height": number, "faces": [[number] * 4], "face": number}
    verdict = read_verdict(told)
    assert (verdict.width, verdict.height, verdict.quality, verdict.face) == (0, 0, 0.0, None)
    crop_square(verdict)
