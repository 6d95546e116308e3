"""A portrait that is made ready while another one is made: what is decoded and looked up ahead."""

import io
import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from functions.generate import template
from functions.generate.decoded_ahead import DecodedAhead
from functions.generate.preparation import prepare_portrait
from shared.contract import keys
from shared.contract.users import ReferenceRecord, UserModel
from shared.errors import UnknownUser
from shared.settings import Limits
from tests.fake_workspace import FakeWorkspace


def make_png(shade: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), shade, np.uint8)).save(file, "PNG")
    return file.getvalue()


def test_a_picture_that_was_decoded_ahead_is_given_once_and_only_for_its_own_file():
    workspace, ahead = FakeWorkspace({"a.png": make_png(10), "b.png": make_png(20)}), DecodedAhead()
    template.decode_ahead("a.png", workspace, Limits(), ahead)
    other = template.fetch_template("b.png", workspace, Limits(), ahead)
    assert other.image[0, 0, 0] == 20
    template.decode_ahead("a.png", workspace, Limits(), ahead)
    kept = ahead._kept
    assert kept is not None
    first = template.fetch_template("a.png", workspace, Limits(), ahead)
    again = template.fetch_template("a.png", workspace, Limits(), ahead)
    assert first is kept[1]
    assert again is not first
    assert np.array_equal(first.image, again.image)
    assert first.format == again.format == "PNG"


def test_a_picture_that_is_too_large_is_not_kept(monkeypatch):
    monkeypatch.setattr("functions.generate.decoded_ahead.MOST_BYTES", 100)
    workspace, ahead = FakeWorkspace({"a.png": make_png(10)}), DecodedAhead()
    template.decode_ahead("a.png", workspace, Limits(), ahead)
    assert ahead._kept is None


class Recorded(FakeWorkspace):
    """Notes what is read."""

    def __init__(self, objects):
        super().__init__(objects)
        self.asked: list[str] = []

    def read(self, key):
        self.asked.append(key)
        return super().read(key)

    def fetch(self, references):
        self.asked += references
        return super().fetch(references)


@pytest.mark.parametrize("in_memory", [False, True])
def test_the_people_of_a_request_are_looked_up_and_its_template_decoded(in_memory):
    photo, lora = "results/train/t1/a1/references/0.png", "results/train/t1/a1/lora.safetensors"
    reference = ReferenceRecord(key=photo, landmarks=[(1.0, 2.0)] * 68, box=(0.0, 0.0, 8.0, 8.0), embedding=[1.0])
    model = UserModel(
        user_id="ann",
        request_id="t1",
        lora=lora,
        base_model="base",
        face_engine="mesh",
        trigger="ann",
        references=[reference],
    )
    workspace = Recorded(
        {
            keys.model("ann"): json.dumps(model.model_dump(mode="json")).encode(),
            photo: make_png(30),
            lora: b"weights",
            "template.png": make_png(40),
        }
    )
    models = SimpleNamespace(
        settings=SimpleNamespace(limits=Limits()),
        lora_cache=SimpleNamespace(has=lambda key, etag: in_memory),
        decoded_ahead=DecodedAhead(),
    )
    body = {"request_id": "r1", "template_image": "template.png", "configure": {"user_id": "ann"}}
    prepare_portrait(body, workspace, models)
    assert {keys.model("ann"), photo, "template.png"} <= set(workspace.asked)
    assert (lora in workspace.asked) is not in_memory
    assert models.decoded_ahead.take(make_png(40)).image[0, 0, 0] == 40
    with pytest.raises(UnknownUser):
        prepare_portrait(body | {"configure": {"user_id": "nobody-known"}}, workspace, models)
