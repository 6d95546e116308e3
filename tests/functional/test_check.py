"""The check function as a whole: a request's body in, the contract's answer out."""

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest

from functions.check.handler import CheckFunction, load
from functions.check.request import UNOWNED
from shared.contract.manifests import success
from shared.errors import InvalidField, PhotoUnavailable
from shared.faces import FaceError
from shared.settings import FaceSettings, Limits, Settings
from tests import pictures
from tests.contract import require_contract
from tests.fake_workspace import FakeWorkspace
from tests.toy_onnx import model_folder


@pytest.fixture(scope="module")
def check(engine):
    return CheckFunction(engine, Limits())


@pytest.fixture(scope="module")
def photos():
    hoppers = pictures.variations(pictures.hopper(), 4)
    return {
        **{f"hopper{index}.jpg": pictures.jpeg(image) for index, image in enumerate(hoppers)},
        "astronaut.jpg": pictures.jpeg(pictures.astronaut()),
        "group.jpg": pictures.jpeg(pictures.group()),
        "coffee.jpg": pictures.png(pictures.coffee()),
        "truncated.jpg": pictures.jpeg(pictures.hopper())[:10_000],
        "wrong-name.jpg": pictures.png(pictures.hopper()),
    }


def body(*images, **configure):
    return {"request_id": 20240101, "images": list(images), "configure": configure}


def test_every_photo_gets_its_own_verdict_in_the_order_of_the_request(check, photos):
    images = ["hopper0.jpg", "nowhere.jpg", "truncated.jpg", "coffee.jpg", "group.jpg", "wrong-name.jpg"]
    answer = check.answer(body(*images), FakeWorkspace(photos))
    results = answer.data["check_results"]
    assert [result["url"] for result in results] == images
    assert [result["code"] for result in results] == [1, 2, 2, 3, 3, 1]
    assert [result["message"] for result in results] == [
        "success",
        "Image decode error",
        "Image decode error",
        "Number of face is not 1",
        "Number of face is not 1",
        "success",
    ]
    assert answer.message == "2 of 6 photos can be used; 2 x Image decode error, 2 x Number of face is not 1"


def test_a_photo_whose_server_fails_for_the_moment_says_when_to_ask_again(check, photos):
    busy = {"busy.jpg": PhotoUnavailable("busy.jpg answered 503").retry_in(9)}
    answer = check.answer(body("hopper0.jpg", "busy.jpg", "gone.jpg"), FakeWorkspace(photos, unavailable=busy))
    results = answer.data["check_results"]
    assert [(one["code"], one["retryable"], one["retry_after"]) for one in results] == [
        (1, False, None),
        (2, True, 9),
        (2, False, None),
    ]
    require_contract("check.answer", success("r1", answer.message, answer.data))


def test_an_answer_has_the_words_of_the_contract(photos):
    """Answer with the function that the settings load."""
    request = body("hopper0.jpg", face_reconize=False)
    answer = load(Settings()).answer(request, FakeWorkspace(photos))
    assert answer.message == "success"
    assert {name: answer.data[name] for name in request} == request
    assert isinstance(answer.data["cost_time"], float)
    assert answer.data["warnings"] == [UNOWNED]
    (result,) = answer.data["check_results"]
    assert result["frontal"] is True
    left, top, right, bottom = result["face"]
    assert 0 < left < right < result["width"] == 512
    assert 0 < top < bottom < result["height"] == 600
    assert {"sharpness", "yaw", "similarity", "warnings"} <= set(result)
    assert json.loads(json.dumps(answer.data, allow_nan=False)) == answer.data


def test_a_stranger_is_named_only_where_faces_are_compared(check, photos):
    images = ["hopper0.jpg", "hopper1.jpg", "astronaut.jpg", "hopper2.jpg", "hopper3.jpg"]
    compared = check.answer(body(*images, face_reconize=True), FakeWorkspace(photos))
    assert [result["code"] for result in compared.data["check_results"]] == [1, 1, 6, 1, 1]
    assert compared.data["check_results"][2]["message"] == "This photo is not the same person in photos"
    similar = [result["similarity"] for result in compared.data["check_results"]]
    assert similar[2] < 0.5 < min(similar[:2] + similar[3:])
    apart = check.answer(body(*images), FakeWorkspace(photos))
    assert [result["code"] for result in apart.data["check_results"]] == [1] * 5


def test_two_strangers_in_two_photos_are_a_tie_that_says_so(check, photos):
    answer = check.answer(body("hopper0.jpg", "astronaut.jpg", face_reconize=True), FakeWorkspace(photos))
    assert [result["code"] for result in answer.data["check_results"]] == [6, 6]
    assert "nobody can say who is meant" in answer.data["check_results"][0]["warnings"][-1]
    assert answer.message.startswith("0 of 2 photos can be used")


def test_the_engine_failing_on_one_photo_costs_only_that_photo(check, photos):
    class Moody:
        """A dlib engine that finds no face in square photos and cannot embed small faces."""

        name, same_person = "moody", 0.6

        def __init__(self, engine):
            self.engine, self.distance = engine, engine.distance

        def detect(self, image):
            if image.shape[0] == image.shape[1]:
                raise FaceError("out of memory")
            return self.engine.detect(image)

        def embed(self, image, face):
            if face.box.width < 150:
                raise FaceError("no vector")
            return self.engine.embed(image, face)

    small = cv2.resize(pictures.hopper(), None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA)
    workspace = FakeWorkspace(photos | {"small.png": pictures.png(np.ascontiguousarray(small))})
    function = CheckFunction(Moody(check._engine), Limits())
    answer = function.answer(body("hopper0.jpg", "astronaut.jpg", "small.png", face_reconize=True), workspace)
    assert [result["code"] for result in answer.data["check_results"]] == [1, 4, 5]
    assert answer.data["check_results"][2]["message"] == "Image encoding error"


def test_the_faces_of_a_request_are_embedded_in_one_run(tmp_path, photos):
    """Toy networks for insightface find a bright square and identify the person by its color."""
    folder = model_folder(tmp_path / "toy")
    function = load(Settings(faces=FaceSettings(engine="insightface", model=str(folder), provider="cpu")))
    runs, embed_all = [], function._engine.embed_all
    function._engine.embed_all = lambda chips: runs.append(len(chips)) or embed_all(chips)
    dark, white, red = (np.zeros((640, 640, 3), np.uint8) for _ in range(3))
    white[256:288, 320:352] = 255
    red[256:288, 320:352] = 255
    red[200:350, 250:420, 1:] //= 2
    workspace = FakeWorkspace(
        {"dark.png": pictures.png(dark), "white.png": pictures.png(white), "pale.png": pictures.png(red)}
    )
    answer = function.answer(body("white.png", "nowhere.png", "pale.png", "dark.png", face_reconize=True), workspace)
    assert [result["code"] for result in answer.data["check_results"]] == [1, 2, 1, 3]
    assert answer.data["check_results"][0]["similarity"] > 0.5
    assert runs == [2]

    function._engine.embed_all = lambda chips: [FaceError("no vector") for _ in chips]
    answer = function.answer(body("white.png", face_reconize=True), workspace)
    assert [result["code"] for result in answer.data["check_results"]] == [5]


def test_progress_is_said_before_every_photo(check, photos):
    workspace = FakeWorkspace(photos)
    check.answer(body(*["coffee-missing.jpg"] * 7), workspace)
    assert [(stage, step, steps) for stage, step, steps, _ in workspace.said] == [("check", n, 7) for n in range(8)]


def test_few_files_are_held_at_once(check, photos):
    class Counting(FakeWorkspace):
        most = 0

        def fetch(self, references):
            self.most = max(self.most, len(references))
            return super().fetch(references)

    workspace = Counting(photos)
    check.answer(body(*["nowhere.jpg"] * 20), workspace)
    assert workspace.most <= 5


def test_unknown_keys_are_warned_of(check, photos):
    request = body("nowhere.jpg", face_recognize=True) | {"color": "blue"}
    answer = check.answer(request, FakeWorkspace(photos))
    assert answer.data["warnings"] == [
        "unknown key color was ignored",
        "unknown key configure.face_recognize was ignored",
        UNOWNED,
    ]
    assert answer.data["configure"] == {"face_recognize": True}


def test_a_check_may_say_whose_photos_they_are(check, photos):
    data = check.answer(body("nowhere.jpg", user_id="ann"), FakeWorkspace(photos)).data
    assert (data["user_id"], data["warnings"]) == ("ann", [])
    for nobody in ("none", "a/b", ""):
        with pytest.raises(InvalidField, match=r"configure\.user_id"):
            check.answer(body("nowhere.jpg", user_id=nobody), FakeWorkspace(photos))


def test_configure_may_be_left_out(check, photos):
    assert check.answer({"request_id": "a", "images": ["nowhere.jpg"]}, FakeWorkspace(photos)).data["configure"] == {}


def test_a_data_url_is_not_repeated_in_its_result(check, photos):
    url = "data:image/jpeg;base64," + "A" * 5000
    answer = check.answer(body(url), FakeWorkspace(photos))
    assert answer.data["images"] == [url]
    assert len(answer.data["check_results"][0]["url"]) < 120


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"images": []}, "images"),
        ({"images": ["a.jpg"] * 21}, "images"),
        ({"images": "a.jpg"}, "images"),
        ({"images": ["a.jpg", 3]}, "images.1"),
        ({"images": [""]}, "images.0"),
        ({"configure": {"face_reconize": "yes"}}, "configure.face_reconize"),
        ({"configure": []}, "configure"),
    ],
)
def test_a_wrong_request_is_an_error_that_names_the_field(check, change, field):
    with pytest.raises(InvalidField) as caught:
        check.answer(body("a.jpg") | change, FakeWorkspace())
    assert caught.value.field == field


def test_a_check_changes_nothing_but_its_answer(check):
    assert check.pointers({"check_results": []}) == {}


def test_check_needs_no_torch():
    program = "import sys, functions.check.handler as h; h.load(h.Settings()); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
