"""Portraits of people without a training: pictures of them in the request, judged, used, and kept only where asked."""

import base64
import json
from typing import Any

import cv2
import numpy as np
import pytest

from functions.generate import portrait
from functions.generate.handler import GenerateFunction
from functions.generate.models import GenerateModels
from functions.generate.reference_cache import ReferenceCache
from shared.contract import keys
from shared.contract.manifests import encode
from shared.errors import AnotherPerson, FaceCountMismatch, NoFaceInTemplate, NoUsableReference, PhotoUnavailable
from shared.models import diffusion
from shared.settings import Limits, ModelSettings, Settings
from tests import pictures
from tests.fake_workspace import FakeWorkspace
from tests.trained_users import lora, make_trained_user, make_visible_base

# fusions alone, without any diffusion: what is said here of references needs no more
KNOBS: dict[str, Any] = {
    "first_denoising_strength": 0.0,
    "second_denoising_strength": 0.0,
    "photo_enhancement_bool": False,
}
KNOBS |= {"skin_retouching_bool": False, "seed": 1, "image_format": "png"}
COLLINS, *VARIED = [picture[:400] for picture in pictures.variations(pictures.astronaut(), 4)]
HOPPER = cv2.resize(pictures.hopper(), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)


class Counting:
    """An engine that counts the pictures in which it looks for faces."""

    def __init__(self, engine):
        self.name, self.same_person = engine.name, engine.same_person
        self.embed, self.distance = engine.embed, engine.distance
        self._engine, self.looked = engine, []

    def detect(self, image):
        self.looked.append(image.shape[:2])
        return self._engine.detect(image)


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    base = make_visible_base(tmp_path_factory.mktemp("references") / "base")
    return Settings(model=ModelSettings(path=str(base), device="cpu"))


@pytest.fixture(scope="module")
def base(settings):
    return diffusion.load_model(settings.model)


@pytest.fixture(scope="module")
def function(settings, engine, base):
    return GenerateFunction(GenerateModels(settings, Counting(engine), base))


@pytest.fixture
def worker(function):
    """The function of a worker that has judged nobody yet."""
    function._models.reference_cache = ReferenceCache()
    function._models.engine.looked.clear()
    return function


@pytest.fixture(scope="module")
def files(engine, base, settings, tmp_path_factory):
    """Pictures of a bucket, and ann, who was trained."""
    blurred = cv2.GaussianBlur(COLLINS, (0, 0), 4)
    made = {
        "template.png": HOPPER, "two.png": np.hstack([pictures.hopper()[:512], pictures.astronaut()]),
        "cup.jpg": pictures.coffee()[:200, :200], "1.jpg": COLLINS, "stranger.jpg": pictures.hopper(),
        **{f"{number}.jpg": picture for number, picture in enumerate(VARIED, 2)},
        "two.jpg": np.hstack([COLLINS, COLLINS]), "blurred.jpg": blurred, "cut.jpg": pictures.astronaut()[:160],
        "small.jpg": cv2.resize(COLLINS, None, fx=0.3, fy=0.3, interpolation=cv2.INTER_AREA),
    }  # fmt: skip
    folder = str(tmp_path_factory.mktemp("loras"))
    user = make_trained_user(
        "ann",
        [pictures.astronaut()[:320, 60:380]],
        engine,
        lora(base.unet, folder),
        settings.model.path.rsplit("/")[-1],
    )
    coded = {name: (pictures.png if name.endswith("png") else pictures.jpeg)(picture) for name, picture in made.items()}
    return user | coded | {"broken.jpg": coded["1.jpg"][:2000]}


def test_a_picture_whose_server_fails_for_the_moment_makes_the_request_worth_another_try(worker, files):
    busy = {"busy.jpg": PhotoUnavailable("busy.jpg answered 503").retry_in(9)}
    desk = FakeWorkspace(files, unavailable=busy)
    for template, references, kind in (
        ("busy.jpg", ["1.jpg"], PhotoUnavailable),
        ("template.png", ["cup.jpg", "busy.jpg"], NoUsableReference),
    ):
        with pytest.raises(kind) as raised:
            ask(worker, desk, template, references=references)
        assert (raised.value.retryable, raised.value.retry_after) == (True, 9)
    with pytest.raises(NoUsableReference) as raised:
        ask(worker, desk, references=["cup.jpg", "none.jpg"])
    assert raised.value.as_dict()["retryable"] is False


@pytest.fixture
def desk(files):
    return FakeWorkspace(files)


def ask(worker, desk, template="template.png", request_id="r1", **configure):
    """The answer's data; the answer is then in the bucket, as a worker puts it there."""
    desk.request_id = request_id
    body = {"request_id": request_id, "template_image": template, "configure": KNOBS | configure}
    data = worker.answer(body, desk).data
    desk.objects[keys.result("generate", request_id)] = encode({"code": "OK", "data": data})
    for key, content in worker.pointers(data).items():
        desk.objects[key] = encode(content)
    return data


def picture(desk, data):
    return cv2.imdecode(np.frombuffer(desk.objects[data["image_key"]], np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


class TestOnePerson:
    def test_pictures_are_enough_and_nothing_of_them_stays_but_the_portrait(self, worker, desk, files):
        data = ask(worker, desk, references=["1.jpg", "2.jpg", "3.jpg"])
        assert set(desk.objects) - set(files) == {data["image_key"], keys.result("generate", "r1")}
        assert data["trained"] is False
        assert data["user_id"] is None
        assert data["kept"] == []
        (given,) = data["references"]
        assert (given["faces"], given["user_id"], given["rejected"]) == ([0], None, [])
        assert sorted(given["used"]) == ["1.jpg", "2.jpg", "3.jpg"]
        (face,) = data["faces"]
        assert (face["user_id"], face["trained"]) == (None, False)
        assert face["reference"] in given["used"]
        assert face["similarity"]["after"] > face["similarity"]["before"] + 0.1
        assert np.any(picture(desk, data) != HOPPER)
        assert data["warnings"] == []
        answer = desk.objects[keys.result("generate", "r1")]
        assert b"embedding" not in answer
        assert b"landmarks" not in answer

    def test_one_picture_is_enough(self, worker, desk):
        data = ask(worker, desk, references="1.jpg")
        assert data["references"][0]["used"] == ["1.jpg"]
        assert data["faces"][0]["reference"] == "1.jpg"

    def test_progress_tells_of_each_picture(self, worker, desk):
        ask(worker, desk, references=["1.jpg", "2.jpg"])
        assert [one[:3] for one in desk.said][:2] == [("references", 0, 2), ("references", 1, 2)]

    def test_a_picture_within_the_request_serves_and_the_answer_names_it_shortly(self, worker, desk, files):
        embedded = "data:image/jpeg;base64," + base64.b64encode(files["1.jpg"]).decode()
        desk.objects[embedded] = files["1.jpg"]
        data = ask(worker, desk, references=[embedded])
        (name,) = data["references"][0]["used"]
        assert name.startswith("data:image/jpeg;base64,")
        assert "sha256" in name
        assert len(name) < 300

    def test_the_answer_tells_no_secret_of_a_url(self, worker, desk, files):
        signed = "https://ann:password@photos.example/1.jpg?X-Amz-Signature=0123456789abcdef&width=3000"
        refused = "https://photos.example/cup.jpg?token=secret"
        desk.objects |= {signed: files["1.jpg"], refused: files["cup.jpg"]}
        data = ask(worker, desk, references=[signed, refused])
        told = json.dumps(data)
        assert "photos.example/1.jpg" in told
        assert not any(secret in told for secret in ("password", "0123456789abcdef", "secret"))

    def test_the_portraits_file_says_nothing_of_the_person(self, worker, desk):
        file = desk.objects[ask(worker, desk, references=["1.jpg"])["image_key"]]
        assert b"references" not in file
        assert b"1.jpg" not in file

    def test_the_picture_that_suits_the_face_best_is_taken(self, worker, desk):
        """A small picture would have to be enlarged; in whatever order they come, the large one is taken."""
        for references in (["small.jpg", "1.jpg"], ["1.jpg", "small.jpg"]):
            data = ask(worker, desk, "two.png", references=[references, []], user_id=[None, "none"])
            assert data["faces"][0]["reference"] == "1.jpg"


REFUSED = {
    "stranger.jpg": "This photo is not the same person in photos",
    "two.jpg": "Number of face is not 1: 2 faces were found",
    "cup.jpg": "Number of face is not 1: no face was found",
    "blurred.jpg": "the face is blurred",
    "cut.jpg": "Number of face is not 1: the face is cut off by the border",
    "broken.jpg": "Image decode error",
    "gone.jpg": "Image decode error: gone.jpg is not there",
}


class TestPicturesThatCannotBeUsed:
    @pytest.mark.parametrize("name", REFUSED)
    def test_each_is_left_out_with_a_warning_that_names_it(self, worker, desk, name):
        data = ask(worker, desk, references=["1.jpg", name, "2.jpg"])
        (given,) = data["references"]
        assert sorted(given["used"]) == ["1.jpg", "2.jpg"]
        (rejected,) = given["rejected"]
        assert rejected["url"] == name
        assert rejected["reason"].startswith(REFUSED[name])
        assert data["warnings"] == [f"configure.references: {name} was left out: {rejected['reason']}"]

    @pytest.mark.parametrize("name", [name for name in REFUSED if name != "stranger.jpg"])
    def test_where_none_is_left_an_error_names_each(self, worker, desk, name):
        with pytest.raises(NoUsableReference) as refused:
            ask(worker, desk, references=["cup.jpg", name])
        assert refused.value.field == "configure.references"
        assert f"{name}: {REFUSED[name]}" in refused.value.message
        assert f"cup.jpg: {REFUSED['cup.jpg']}" in refused.value.message
        assert not refused.value.retryable

    def test_of_two_people_in_one_picture_each_nobody_knows_who_is_meant(self, worker, desk):
        with pytest.raises(NoUsableReference, match=r"1\.jpg: .*nobody can say who is meant.*stranger\.jpg: "):
            ask(worker, desk, references=["1.jpg", "stranger.jpg"])

    def test_a_blurred_picture_does_not_count_when_it_is_asked_who_is_meant(self, worker, desk):
        blurred = cv2.GaussianBlur(pictures.hopper(), (0, 0), 5)
        desk.objects["blurred stranger.jpg"] = pictures.jpeg(blurred)
        data = ask(worker, desk, references=["blurred stranger.jpg", "1.jpg"])
        assert data["references"][0]["used"] == ["1.jpg"]

    def test_a_picture_that_came_twice_counts_once(self, worker, desk):
        """So that a stranger who came twice outvotes nobody."""
        data = ask(worker, desk, references=["stranger.jpg", "1.jpg", "stranger.jpg", "2.jpg"])
        reasons = [one["reason"] for one in data["references"][0]["rejected"]]
        assert sorted(data["references"][0]["used"]) == ["1.jpg", "2.jpg"]
        assert reasons[0].startswith("This photo is not the same person in photos")
        assert reasons[1] == "the same photo as number 1"

    def test_pictures_over_the_limits_are_left_out_too(self, settings, engine, base, desk, files):
        limits = Limits(photo_bytes=len(files["1.jpg"]))
        limited = GenerateFunction(GenerateModels(settings.model_copy(update={"limits": limits}), engine, base))
        desk.objects |= {"larger.jpg": files["1.jpg"] + bytes(1), "template.png": files["1.jpg"]}
        data = ask(limited, desk, references=["larger.jpg", "1.jpg"])
        assert data["references"][0]["rejected"][0]["url"] == "larger.jpg"


class TestSeveralPeople:
    TWO = "two.png"  # Hopper to the left, Collins to the right

    def test_pictures_stand_beside_trained_users(self, worker, desk):
        data = ask(worker, desk, self.TWO, references=[["1.jpg", "cup.jpg"], []], user_id=[None, "ann"])
        assert [face["user_id"] for face in data["faces"]] == [None, "ann"]
        assert [face["trained"] for face in data["faces"]] == [False, True]
        assert data["faces"][0]["reference"] == "1.jpg"
        assert data["faces"][1]["reference"].startswith("results/train/train-ann/")
        assert data["trained"] is False
        assert data["user_id"] == [None, "ann"]
        assert data["warnings"] == [
            f"configure.references.0: cup.jpg was left out: {data['references'][0]['rejected'][0]['reason']}"
        ]

    def test_a_face_without_anybody_stays_as_it_is(self, worker, desk, files):
        data = ask(worker, desk, self.TWO, references=[None, ["stranger.jpg"]], user_id=["none", None])
        assert [face["user_id"] for face in data["faces"]] == ["none", None]
        assert (data["faces"][0]["trained"], data["faces"][0]["reference"]) == (None, None)
        template = cv2.imdecode(np.frombuffer(files[self.TWO], np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
        changed = np.any(picture(desk, data) != template, axis=-1)
        assert not changed[:, :400].any()
        assert changed[:, 600:].any()

    def test_a_list_for_each_face_and_no_id_at_all(self, worker, desk):
        data = ask(worker, desk, self.TWO, references=[["1.jpg", "2.jpg"], ["stranger.jpg"]])
        assert [one["faces"] for one in data["references"]] == [[0], [1]]
        assert [face["reference"] for face in data["faces"]][1] == "stranger.jpg"
        assert all(face["similarity"]["after"] > face["similarity"]["before"] for face in data["faces"])

    def test_one_person_may_take_two_faces_and_is_judged_once(self, worker, desk):
        ask(worker, desk, self.TWO, references=[["1.jpg"], ["1.jpg"]])
        assert worker._models.engine.looked.count(COLLINS.shape[:2]) == 1

    def test_another_number_of_faces_says_both_numbers(self, worker, desk):
        with pytest.raises(FaceCountMismatch, match="shows 2 faces, but the request has 1 reference list:") as refused:
            ask(worker, desk, self.TWO, references=["1.jpg"])
        assert refused.value.field == "configure.references"

    def test_an_error_says_whose_pictures_it_is_about(self, worker, desk):
        with pytest.raises(NoUsableReference, match=r"^configure\.references\.1: ") as refused:
            ask(worker, desk, self.TWO, references=[["1.jpg"], ["cup.jpg"]])
        assert refused.value.field == "configure.references.1"

    def test_somebody_trained_alone_is_trained(self, worker, desk):
        data = ask(worker, desk, user_id="ann")
        assert (data["trained"], data["faces"][0]["trained"]) == (True, True)
        assert "references" not in data
        assert "kept" not in data


class TestKeeping:
    def test_pictures_with_an_id_are_kept_under_it_and_later_requests_name_it(self, worker, desk, files):
        desk.function = "generate"
        first = ask(worker, desk, references=["1.jpg", "cup.jpg", "2.jpg"], user_id="bob")
        folder = f"results/generate/r1/a1/{keys.kept_photos('bob')}"
        record = json.loads(desk.objects[keys.model("bob")])
        kept = [one["key"] for one in record["references"]]
        assert {key for key in desk.objects if key not in files} == {
            *kept, first["image_key"], keys.result("generate", "r1"), keys.model("bob"),
        }  # fmt: skip
        assert (record["user_id"], record["request_id"], record["lora"]) == ("bob", "r1", None)
        assert len(set(kept)) == 2
        assert all(key.startswith(folder) for key in kept)
        for name in ("1.jpg", "2.jpg"):
            del desk.objects[name]  # the kept ones are photog's own
        again = ask(worker, desk, request_id="r2", user_id="bob")
        assert (again["trained"], again["user_id"]) == (False, "bob")
        assert again["faces"][0]["reference"] in [one["key"] for one in record["references"]]
        assert "kept" not in again
        assert np.array_equal(picture(desk, again), picture(desk, first))

    def test_the_same_pictures_again_are_kept_already_and_others_take_their_place(self, worker, desk):
        desk.function = "generate"
        ask(worker, desk, references=["1.jpg"], user_id="bob")
        assert ask(worker, desk, request_id="r2", references=["1.jpg"], user_id="bob")["kept"] == []
        assert json.loads(desk.objects[keys.model("bob")])["request_id"] == "r1"
        ask(worker, desk, request_id="r3", references=["2.jpg"], user_id="bob")
        assert json.loads(desk.objects[keys.model("bob")])["request_id"] == "r3"
        assert ask(worker, desk, request_id="r4", user_id="bob")["warnings"] == []

    def test_an_id_that_is_used_again_takes_no_picture_from_those_it_has_kept(self, worker, desk):
        """As after the others of a portrait were forgotten: its answer is gone, and what it keeps of bob is not."""
        desk.function = "generate"
        ask(worker, desk, references=["1.jpg"], user_id="bob")
        model = desk.objects[keys.model("bob")]
        kept = {key: desk.objects[key] for key in desk.objects if keys.whose_photo(key)}
        desk.objects[keys.result("generate", "r1")] = encode({"code": "error", "data": {"error": {}}})
        assert ask(worker, desk, request_id="r2", user_id="bob")["trained"] is False
        body = {"request_id": "r1", "template_image": "template.png"}
        worker.answer(body | {"configure": KNOBS | {"references": ["2.jpg"], "user_id": "bob"}}, desk)
        assert desk.objects[keys.model("bob")] == model, "its worker died before the answer"
        assert {key: desk.objects[key] for key in kept} == kept

    def test_a_training_is_never_replaced_by_pictures(self, worker, desk):
        before = desk.objects[keys.model("ann")]
        data = ask(worker, desk, references=["1.jpg"], user_id="ann")
        assert (data["kept"], data["trained"]) == ([], False)
        assert desk.objects[keys.model("ann")] == before
        assert not [key for key in desk.objects if keys.PEOPLE in key]
        (warning,) = data["warnings"]
        assert "ann has a training" in warning

    def test_somebody_elses_pictures_take_no_name_unsaid(self, worker, desk):
        desk.function = "generate"
        ask(worker, desk, references=["1.jpg"], user_id="bob")
        before = desk.objects[keys.model("bob")]
        desk.said.clear()
        with pytest.raises(AnotherPerson, match="somebody else than the bob who is known") as refused:
            ask(worker, desk, "cup.jpg", "r2", references=["stranger.jpg"], user_id="bob", another_person="refuse")
        assert refused.value.field == "configure.references"
        assert [one[0] for one in desk.said] == ["references"], "before anything else is done"
        same = ask(worker, desk, request_id="r3", references=["2.jpg"], user_id="bob", another_person="refuse")
        assert same["warnings"] == []
        assert same["references"][0]["similarity_to_known"] > 0.5
        told = ask(worker, desk, request_id="r4", references=["stranger.jpg"], user_id="bob")
        assert [one.partition(" (")[0] for one in told["warnings"]] == [
            "configure.references: these photos show somebody else than the bob who is known"
        ]
        assert "and take their place" in told["warnings"][0]
        assert told["references"][0]["similarity_to_known"] < 0.45
        assert json.loads(desk.objects[keys.model("bob")])["request_id"] == "r4"
        back = ask(worker, desk, request_id="r5", references=["1.jpg"], user_id="bob", another_person="replace")
        assert back["warnings"] == []
        vectors = [json.loads(one)["references"][0]["embedding"] for one in (before, desk.objects[keys.model("bob")])]
        assert vectors[0] == vectors[1]

    def test_a_training_of_somebody_else_is_given_up_for_pictures_only_where_that_is_said(self, worker, desk):
        desk.function = "generate"
        trained = desk.objects[keys.model("ann")]
        told = ask(worker, desk, references=["stranger.jpg"], user_id="ann")["warnings"]
        assert "whose training stays" in told[0]
        assert len(told) == 2
        ask(worker, desk, request_id="r2", references=["1.jpg"], user_id="ann", another_person="replace")
        assert desk.objects[keys.model("ann")] == trained, "it is the same person"
        ask(worker, desk, request_id="r3", references=["stranger.jpg"], user_id="ann", another_person="replace")
        assert json.loads(desk.objects[keys.model("ann")])["lora"] is None

    def test_a_training_that_ends_meanwhile_is_not_replaced_either(self, worker, desk):
        """The record says of which moment's model it takes the place, and the worker that commits it looks again."""
        desk.objects[keys.model("bob")] = encode({"committed": 7.5})
        data = ask(worker, desk, references=["1.jpg"], user_id="bob")
        assert [one["replaces"] for one in data["kept"]] == [7.5]
        assert worker.pointers(data)[keys.model("bob")]["replaces"] == 7.5
        assert [
            one["replaces"] for one in ask(worker, desk, request_id="r2", references=["1.jpg"], user_id="kim")["kept"]
        ] == [0.0]

    def test_somebody_else_who_became_known_meanwhile_is_not_replaced_unsaid(self, worker, desk, monkeypatch):
        """Of two who take a free name at once, the second to end hears of the first."""
        desk.function = "generate"
        ask(worker, desk, request_id="r1", references=["1.jpg"], user_id="bob")
        first = json.loads(desk.objects.pop(keys.model("bob"))) | {"committed": 7.5}

        portray = portrait.portray

        def end_first(*arguments):
            desk.objects[keys.model("bob")] = encode(first)
            return portray(*arguments)

        monkeypatch.setattr(portrait, "portray", end_first)
        more = {"references": ["stranger.jpg"], "user_id": "bob"}
        with pytest.raises(AnotherPerson):
            ask(worker, desk, request_id="r2", **more, another_person="refuse")
        assert json.loads(desk.objects[keys.model("bob")])["request_id"] == "r1"

    def test_of_several_people_each_is_kept_under_their_own_id(self, worker, desk):
        desk.function = "generate"
        data = ask(worker, desk, "two.png", references=[["1.jpg"], ["stranger.jpg"]], user_id=["bob", None])
        assert [one["user_id"] for one in data["kept"]] == ["bob"]
        ask(worker, desk, "two.png", "r2", references=[["1.jpg"], ["stranger.jpg"]], user_id=["kim", "lee"])
        for user_id in ("bob", "kim", "lee"):
            assert ask(worker, desk, request_id=f"again-{user_id}", user_id=user_id)["trained"] is False

    def test_what_cannot_be_portrayed_keeps_nobody(self, worker, desk, files):
        with pytest.raises(NoFaceInTemplate):
            ask(worker, desk, "cup.jpg", references=["1.jpg"], user_id="bob")
        assert desk.objects.keys() == files.keys()

    def test_a_picture_that_fits_an_answer_only_without_the_records_is_given_as_key(self, settings, engine, base, desk):
        desk.function = "generate"
        size = len(desk.objects["template.png"])
        limits = Limits(answer_bytes=4 * size)
        limited = GenerateFunction(GenerateModels(settings.model_copy(update={"limits": limits}), engine, base))
        ask(limited, desk, references=["1.jpg", "2.jpg"], user_id="bob", image_format="base64")
        assert len(desk.objects[keys.result("generate", "r1")]) <= limits.answer_bytes


class TestTheCache:
    def test_pictures_that_come_again_are_not_looked_at_again(self, worker, desk):
        engine = worker._models.engine
        ask(worker, desk, references=["1.jpg", "2.jpg"])
        engine.looked.clear()
        ask(worker, desk, request_id="r2", references=["2.jpg", "1.jpg"])
        assert COLLINS.shape[:2] not in engine.looked
        ask(worker, desk, request_id="r3", references=["1.jpg", "3.jpg"])
        assert engine.looked.count(COLLINS.shape[:2]) == 1

    def test_the_portrait_is_the_same_from_the_cache(self, worker, desk):
        first = ask(worker, desk, references=["1.jpg", "2.jpg"])
        again = ask(worker, desk, request_id="r2", references=["1.jpg", "2.jpg"])
        assert np.array_equal(picture(desk, first), picture(desk, again))

    def test_a_file_is_known_by_its_content_and_never_by_its_name(self, worker, desk, files):
        ask(worker, desk, references=["1.jpg"])
        desk.objects["1.jpg"] = files["stranger.jpg"]
        data = ask(worker, desk, "two.png", "r2", references=[["1.jpg"], []], user_id=[None, "none"])
        assert data["faces"][0]["similarity"]["before"] > 0.5, "Hopper's picture on Hopper's face"

    def test_what_came_with_a_request_that_is_gone_is_dropped(self, worker, desk):
        engine = worker._models.engine
        ask(worker, desk, references=["1.jpg"])
        worker.evict(lambda key: key in desk.objects)
        engine.looked.clear()
        ask(worker, desk, request_id="r2", references=["1.jpg"])
        assert COLLINS.shape[:2] not in engine.looked
        del desk.objects[keys.result("generate", "r1")]
        worker.evict(lambda key: key in desk.objects)
        ask(worker, desk, request_id="r3", references=["1.jpg"])
        assert COLLINS.shape[:2] in engine.looked
