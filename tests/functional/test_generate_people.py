"""Nothing of one person reaches another's portrait, and a training that cannot be one is refused as such."""

import gc
import json
import math
import struct
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from functions.generate.handler import GenerateFunction
from functions.generate.models import GenerateModels
from shared.contract import keys
from shared.contract import user_model as record
from shared.errors import InternalError, PhotoUnavailable, PictureFailed, RequestError, UnknownUser
from shared.models import diffusion
from shared.settings import ModelSettings, Settings
from tests import pictures
from tests.fake_workspace import FakeWorkspace
from tests.lora_files import header_of, made, tensors_of
from tests.trained_users import lora, make_trained_user, make_visible_base

WHO = "sam"
# one fusion and one diffusion: what is said here of people needs no more
KNOBS: dict[str, Any] = {"first_diffusion_steps": 6, "second_denoising_strength": 0.0, "apply_face_fusion_after": False}
KNOBS |= {"color_shift_middle": False, "color_shift_last": False, "skin_retouching_bool": False}
KNOBS |= {"photo_enhancement_bool": False, "seed": 1, "image_format": "png"}
SMALL = cv2.resize(pictures.hopper(), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    return Settings(model=ModelSettings(path=str(make_visible_base(tmp_path_factory.mktemp("people"))), device="cpu"))


def opened(settings, engine):
    """The function as a fresh worker has it."""
    return GenerateFunction(GenerateModels(settings, engine, diffusion.load_model(settings.model)))


@pytest.fixture(scope="module")
def worker(settings, engine):
    """The function as a worker has it that has served others."""
    return opened(settings, engine)


@pytest.fixture(scope="module")
def unet(settings):
    return diffusion.load_model(settings.model).unet


@pytest.fixture(scope="module")
def people(settings, engine, unet, tmp_path_factory):
    """The objects of two people, trained under one id and one request's id: their keys are the same."""
    folder = str(tmp_path_factory.mktemp("loras"))
    photos = {"collins": pictures.astronaut()[:320, 60:380], "hopper": SMALL}
    name = settings.model.path.rsplit("/", 1)[-1]
    return {
        who: make_trained_user(WHO, [photo], engine, lora(unet, folder, 4, seed, scale=0.5), name)
        for seed, (who, photo) in enumerate(photos.items())
    }


TEMPLATE = {"template.png": pictures.png(SMALL)}


def portray(function, objects, user_id=WHO, **knobs):
    """The portrait's file."""
    workspace = FakeWorkspace(objects | TEMPLATE)
    configure = {"user_id": user_id} | KNOBS | knobs
    data = function.answer(
        {"request_id": "r1", "template_image": "template.png", "configure": configure}, workspace
    ).data
    return workspace.objects[data["image_key"]]


@pytest.fixture(scope="module")
def first(settings, engine, people):
    """The portrait of whom the id belonged to at first, by a fresh worker."""
    return portray(opened(settings, engine), people["collins"])


def with_model(objects, **changes):
    """The objects with other fields in the user's model."""
    return objects | {keys.model(WHO): json.dumps(json.loads(objects[keys.model(WHO)]) | changes).encode()}


def with_reference(objects, **changes):
    (reference,) = json.loads(objects[keys.model(WHO)])["references"]
    return with_model(objects, references=[reference | changes])


def with_lora(objects, data):
    return objects | {json.loads(objects[keys.model(WHO)])["lora"]: data}


def valued(data, value):
    """A LoRA with one value changed."""
    tensors = tensors_of(data)
    name, (dtype, shape, content) = next(iter(tensors.items()))
    return made(
        tensors | {name: (dtype, shape, struct.pack("<f", value) + content[4:])}, header_of(data)["__metadata__"]
    )


class TestOneIdAndTwoPeople:
    @pytest.mark.parametrize("evicted", [False, True])
    def test_who_gets_an_id_that_was_anothers_is_portrayed_as_by_a_fresh_worker(
        self, settings, engine, people, first, evicted
    ):
        running = opened(settings, engine)
        assert portray(running, people["collins"]) == first
        if evicted:  # a worker looks every half minute; who is faster must not get another's face either
            running.evict(lambda key: False)
        second = portray(running, people["hopper"])
        assert second == portray(opened(settings, engine), people["hopper"])
        assert second != first

    def test_the_lora_alone_makes_the_difference(self, people, worker, first):
        lora_key = json.loads(people["collins"][keys.model(WHO)])["lora"]
        assert portray(worker, people["collins"]) == first
        others = people["collins"] | {lora_key: people["hopper"][lora_key]}
        assert portray(worker, others) != first

    def test_who_is_forgotten_cannot_be_portrayed_any_more(self, people, worker):
        portray(worker, people["collins"])
        without = {key: data for key, data in people["collins"].items() if not key.endswith(".safetensors")}
        with pytest.raises(UnknownUser, match=r"LoRA of sam is gone.*train again"):
            portray(worker, without)

    def test_nothing_of_the_lora_is_in_memory_once_it_was_evicted(self, people, worker):
        portray(worker, people["collins"])
        known = tensors_of(people["collins"][json.loads(people["collins"][keys.model(WHO)])["lora"]])
        values = [torch.from_numpy(np.frombuffer(one[2], np.float32).copy().reshape(one[1])) for one in known.values()]

        def found():
            gc.collect()
            living = [one for one in gc.get_objects() if type(one) in (torch.Tensor, torch.nn.Parameter)]
            others = [one for one in living if not any(one is value for value in values)]
            return sum(any(a.shape == b.shape and torch.equal(a, b) for b in others) for a in values)

        assert found() == len(values)
        worker.evict(lambda key: False)
        assert found() == 0


class TestATrainingThatCannotBeOne:
    """Whatever is written where a training should be: an error that is the sender's to read, and no other picture."""

    def refused(self, worker, objects, match):
        with pytest.raises(RequestError, match=match) as error:
            portray(worker, objects)
        assert not error.value.retryable
        assert not isinstance(error.value, InternalError)
        assert WHO in error.value.message
        assert error.value.field == "configure.user_id"

    @pytest.mark.parametrize(
        "field", ["user_id", "request_id", "lora", "base_model", "face_engine", "trigger", "references"]
    )
    @pytest.mark.parametrize("value", ["missing", None, 7, [], {"a": 1}])
    def test_a_field_that_is_missing_or_of_another_type_is_named(self, worker, people, field, value):
        model = json.loads(people["collins"][keys.model(WHO)])
        model = {name: one for name, one in model.items() if name != field} | (
            {} if value == "missing" else {field: value}
        )
        self.refused(
            worker,
            people["collins"] | {keys.model(WHO): json.dumps(model).encode()},
            rf"{field}.*train again",
        )

    @pytest.mark.parametrize(
        "text", [b"", b"{", b"null", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"user_id": "sam", "user_id": 3}']
    )
    def test_what_is_no_model_is_refused(self, worker, people, text):
        self.refused(worker, people["collins"] | {keys.model(WHO): text}, "cannot be read.*train again")

    def test_a_model_too_large_to_be_one_is_not_read(self, worker, people, monkeypatch):
        monkeypatch.setattr(record, "MOST_BYTES", 100)
        self.refused(worker, people["collins"], "more than the limit of 100.*train again")

    @pytest.mark.parametrize(
        "key",
        [
            "../../etc/passwd",
            "results/train/../generate/r1/a1/lora.safetensors",
            "results/train/./a1/lora.safetensors",
            "results/train/../a1/lora.safetensors",
            "results/train/x/a1/../../y/a1/lora.safetensors",
            "/results/train/train-sam/a1/lora.safetensors",
            "results/train/train-sam/a1//lora.safetensors",
            "results/train/train-sam/lora.safetensors",
            "results/generate/train-sam/a1/lora.safetensors",
            "users/sam/model.json",
            "template.png",
            "https://example.com/lora.safetensors",
            "s3://other/lora.safetensors",
            "data:,lora",
            "results/train/train-sam/a1/lora.safetensors\n",
            "results/train/train-sam/a1/\u0000",
            "results/train/another/a1/lora.safetensors",
        ],
    )
    def test_a_key_that_is_no_artifact_of_the_training_is_refused(self, worker, people, key):
        self.refused(worker, with_model(people["collins"], lora=key), "artifacts of one training.*train again")
        self.refused(worker, with_reference(people["collins"], key=key), "artifacts of one training.*train again")

    def test_the_model_of_somebody_else_serves_nobody(self, worker, people):
        self.refused(worker, with_model(people["collins"], user_id="ann"), "belongs to the user_id 'ann'.*train again")

    def test_a_model_that_names_anothers_artifacts_is_refused(self, worker, people):
        answer = next(key for key in people["collins"] if key.endswith("result.json"))
        anothers = json.loads(people["collins"][answer])
        anothers["data"]["user_id"] = "ann"
        objects = people["collins"] | {answer: json.dumps(anothers).encode()}
        self.refused(worker, objects, "not this user's.*train again")

    @pytest.mark.parametrize("text", [b"", b"[" * 100_000, b"[]", b'{"data": 3}', b'{"data": {"user_id": "sam"}}'])
    def test_an_answer_of_the_training_that_cannot_be_read_is_no_proof(self, worker, people, text):
        answer = next(key for key in people["collins"] if key.endswith("result.json"))
        self.refused(worker, people["collins"] | {answer: text}, "answer.*cannot be read.*train again")

    @pytest.mark.parametrize(
        "landmarks",
        [
            [],
            [[1.0, 1.0]] * 67,
            [[1.0, 1.0]] * 69,
            [[1.0]] * 68,
            [[0.0, 0.0]] * 68,
            [[50.0, 50.0]] * 68,
            [[float(x), float(x)] for x in range(68)],
            [[float(x), 100.0] for x in range(68)],
            [[math.nan, 1.0]] * 68,
            [[math.inf, 1.0]] * 68,
            [[1e308, 1e308]] * 68,
            [["a", "b"]] * 68,
        ],
    )
    def test_landmarks_that_are_no_face_are_refused(self, worker, people, landmarks):
        self.refused(worker, with_reference(people["collins"], landmarks=landmarks), "landmarks.*train again")

    @pytest.mark.parametrize("away", [-1000, 1000, 99_000])
    def test_landmarks_beside_the_photo_are_refused(self, worker, people, away):
        (reference,) = json.loads(people["collins"][keys.model(WHO)])["references"]
        moved = [[x + away, y] for x, y in reference["landmarks"]]
        self.refused(worker, with_reference(people["collins"], landmarks=moved), "landmarks.*train again")

    @pytest.mark.parametrize("seed", range(4))
    def test_landmarks_that_only_look_like_some_make_a_picture_and_no_crash(self, worker, people, seed):
        points = np.random.default_rng(seed).uniform(-100, 420, (68, 2)).tolist()
        off = {"first_denoising_strength": 0.0, "color_shift_last": True, "makeup_transfer": True}
        assert portray(worker, with_reference(people["collins"], landmarks=points), **off)

    @pytest.mark.parametrize("box", [[0, 0, 0, 0], [90, 90, 10, 10], [5000, 0, 6000, 100], [0, 0, math.nan, 1], [1, 2]])
    def test_a_box_that_is_no_faces_is_refused(self, worker, people, box):
        self.refused(worker, with_reference(people["collins"], box=box), "(box|landmarks).*train again")

    @pytest.mark.parametrize(
        "embedding",
        [[], [1.0] * 127, [1.0] * 129, [1.0] * 5000, [0.0] * 128, [math.nan] * 128, [1e300] * 128, ["a"] * 128],
    )
    def test_a_face_vector_that_is_none_is_refused(self, worker, people, embedding):
        self.refused(worker, with_reference(people["collins"], embedding=embedding), "(embedding|vectors).*train again")

    def test_vectors_of_different_lengths_are_refused(self, worker, people):
        (reference,) = json.loads(people["collins"][keys.model(WHO)])["references"]
        two = [reference, reference | {"embedding": reference["embedding"][:-1]}]
        self.refused(worker, with_model(people["collins"], references=two), "different lengths.*train again")

    def test_more_photos_than_a_training_leaves_are_refused(self, worker, people):
        (reference,) = json.loads(people["collins"][keys.model(WHO)])["references"]
        self.refused(worker, with_model(people["collins"], references=[reference] * 65), "references.*train again")

    def test_a_photo_larger_than_trainings_leave_is_not_decoded(self, worker, people):
        (reference,) = json.loads(people["collins"][keys.model(WHO)])["references"]
        wide = {reference["key"]: pictures.png(np.zeros((3000, 3000, 3), np.uint8))}
        self.refused(worker, people["collins"] | wide, "cannot be read.*train again")

    def test_a_photo_that_is_there_and_cannot_be_read_now_is_worth_another_try(self, worker, people):
        class Failing(FakeWorkspace):
            def fetch(self, references):
                if list(references) == ["template.png"]:
                    return super().fetch(references)
                return [PhotoUnavailable("the store is away") for _ in references]

        configure = {"user_id": WHO} | KNOBS
        body = {"request_id": "r1", "template_image": "template.png", "configure": configure}
        with pytest.raises(InternalError, match="store is away") as error:
            worker.answer(body, Failing(people["collins"] | TEMPLATE))
        assert error.value.retryable

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    def test_a_lora_with_values_that_are_no_numbers_is_refused(self, worker, people, first, value):
        lora_key = json.loads(people["collins"][keys.model(WHO)])["lora"]
        objects = with_lora(people["collins"], valued(people["collins"][lora_key], value))
        self.refused(worker, objects, "LoRA of sam cannot be used.*not finite.*train again")
        assert portray(worker, people["collins"]) == first

    @pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"\x80\x04]\x94.", bytes(1000)])
    def test_a_file_that_is_no_lora_is_refused(self, worker, people, data):
        self.refused(worker, with_lora(people["collins"], data), "LoRA of sam cannot be used.*train again")

    def test_a_lora_over_the_limit_is_not_read_into_memory(self, worker, people):
        class Huge(FakeWorkspace):
            def size(self, key):
                return 2**31 if key.endswith(".safetensors") else super().size(key)

            def read(self, key):
                assert not key.endswith(".safetensors")
                return super().read(key)

        body = {"request_id": "r1", "template_image": "template.png", "configure": {"user_id": "big"} | KNOBS}
        objects = {
            key.replace(WHO, "big"): data.replace(WHO.encode(), b"big") if key.endswith(".json") else data
            for key, data in people["collins"].items()
        }
        with pytest.raises(UnknownUser, match="2147483648 bytes, more than the limit"):
            worker.answer(body, Huge(objects | TEMPLATE))


class TestValuesThatAreNoColors:
    def test_a_lora_that_drives_the_model_out_of_all_numbers_is_an_error_that_names_whose(self, worker, people, first):
        lora_key = json.loads(people["collins"][keys.model(WHO)])["lora"]
        tensors = tensors_of(people["collins"][lora_key])
        huge = {
            name: (dtype, shape, np.full(shape, 1e30, np.float32).tobytes())
            for name, (dtype, shape, _) in tensors.items()
        }
        with pytest.raises(PictureFailed, match=r"no picture of sam.*train again") as error:
            portray(worker, with_lora(people["collins"], made(huge)))
        assert (error.value.retryable, error.value.field) == (False, "configure.user_id")
        assert portray(worker, people["collins"]) == first

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_a_base_model_that_fails_makes_no_black_picture(self, settings, engine, people, value):
        broken = diffusion.load_model(settings.model)
        with torch.no_grad():
            broken.vae.decoder.layers[-1].bias.fill_(value)
        with pytest.raises(PictureFailed, match="precision"):
            portray(GenerateFunction(GenerateModels(settings, engine, broken)), people["collins"])

    def test_a_background_that_fails_is_an_error_too(self, settings, engine, people):
        broken = diffusion.load_model(settings.model)
        with torch.no_grad():
            broken.unet.conv_out.bias.fill_(math.nan)
        off = {"first_denoising_strength": 0.0, "second_denoising_strength": 0.0, "background_restore": True}
        with pytest.raises(PictureFailed, match="background_restore"):
            portray(GenerateFunction(GenerateModels(settings, engine, broken)), people["collins"], **off)
