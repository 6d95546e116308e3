"""generate as its sender sees it: a body in, an answer and a PNG out; on a random base model and real faces."""

import base64
import json

import cv2
import numpy as np
import pytest

from functions.generate import portrait
from functions.generate.handler import GenerateFunction
from functions.generate.models import GenerateModels
from shared.contract import keys
from shared.errors import (
    FaceCountMismatch,
    InvalidField,
    NoFaceInTemplate,
    PhotoTooLarge,
    PhotoUnavailable,
    PhotoUndecodable,
    UnknownUser,
)
from shared.models import diffusion
from shared.settings import Limits, ModelSettings, Settings
from tests import pictures
from tests.fake_workspace import FakeWorkspace
from tests.trained_users import lora, make_trained_user, make_visible_base

FEW_STEPS = {"first_diffusion_steps": 6, "second_diffusion_steps": 6}  # 2 and 1 that are run


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    base = make_visible_base(tmp_path_factory.mktemp("generate") / "base")
    return Settings(model=ModelSettings(path=str(base), device="cpu"))


@pytest.fixture(scope="module")
def models(settings, engine):
    return GenerateModels(settings, engine, diffusion.load_model(settings.model))


@pytest.fixture(scope="module")
def two_in_one():
    """Hopper to the left, the astronaut to the right."""
    return np.hstack([pictures.hopper()[:512], pictures.astronaut()])


@pytest.fixture(scope="module")
def bucket(settings, models, two_in_one, tmp_path_factory):
    unet = diffusion.load_model(settings.model).unet
    folder = str(tmp_path_factory.mktemp("loras"))
    photos = {"collins": pictures.astronaut()[:320, 60:380], "hopper": pictures.hopper()}
    people: dict[str, bytes] = {}
    for seed, (user_id, photo) in enumerate(photos.items()):
        people |= make_trained_user(
            user_id, [photo], models.engine, lora(unet, folder, 4 + 4 * seed, seed), models.base_model
        )
    templates = {
        "hopper.png": pictures.png(pictures.hopper()),
        "collins.jpg": pictures.jpeg(pictures.astronaut()),
        "two.png": pictures.png(two_in_one),
        "coffee.jpg": pictures.jpeg(pictures.coffee()[:200, :200]),
        "broken.jpg": pictures.jpeg(pictures.astronaut())[:3000],
    }
    return people | templates


@pytest.fixture
def workspace(bucket):
    return FakeWorkspace(bucket)


@pytest.fixture
def generate(workspace, models):
    def run(template="hopper.png", user_id="collins", **knobs):
        configure = {"user_id": user_id, "seed": 1, "image_format": "png"} | FEW_STEPS | knobs
        body = {"request_id": "r1", "template_image": template, "configure": configure}
        return GenerateFunction(models).answer(body, workspace).data

    return run


def decoded(data):
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def picture(workspace, data):
    return decoded(workspace.objects[data["image_key"]])


def changed(workspace, data, template):
    return np.any(picture(workspace, data) != template, axis=-1)


@pytest.fixture(scope="module")
def ordinary(bucket, models):
    """The portrait of the defaults."""
    workspace = FakeWorkspace(bucket)
    configure = {"user_id": "collins", "seed": 1, "image_format": "png"} | FEW_STEPS
    body = {"request_id": "r1", "template_image": "hopper.png", "configure": configure}
    return picture(workspace, GenerateFunction(models).answer(body, workspace).data)


class TestTheAnswer:
    def test_it_carries_what_the_contract_says(self, generate, workspace):
        data = generate(image_format="base64")
        assert data["user_id"] == "collins"
        assert base64.b64decode(data["image"]) == workspace.objects[data["image_key"]]
        assert data["image_key"].endswith("/portrait.png")
        assert (data["width"], data["height"]) == (512, 600)
        assert picture(workspace, data).shape == (600, 512, 3)
        assert data["seed"] == 1
        assert data["warnings"] == []
        assert data["cost_time"] > 0
        json.dumps(data)

    def test_each_face_says_how_near_it_came(self, generate):
        (face,) = generate(first_denoising_strength=0.0, second_denoising_strength=0.0)["faces"]
        assert face["user_id"] == "collins"
        assert len(face["box"]) == 4
        assert face["distance"]["after"] < 0.6 < face["distance"]["before"]
        assert 0 <= face["similarity"]["before"] < face["similarity"]["after"] - 0.1 < 1

    def test_png_gives_the_key(self, generate):
        data = generate(image_format="png")
        assert data["image"] == data["image_key"]

    def test_a_picture_too_large_for_an_answer_is_given_as_key_with_a_warning(self, settings, models, workspace):
        small = GenerateModels.__new__(GenerateModels)
        limited = settings.model_copy(update={"limits": Limits(answer_bytes=100_000)})
        small.__dict__ |= models.__dict__ | {"settings": limited}
        body = {"request_id": 1, "template_image": "hopper.png", "configure": {"user_id": "none"}}
        data = portrait.make_portrait(body, workspace, small).data
        assert data["image"] == data["image_key"]
        assert "100000" in data["warnings"][0]

    def test_the_seed_repeats_the_picture(self, generate, workspace):
        first = generate(seed=None)
        made = workspace.objects[first["image_key"]]
        again = generate(seed=first["seed"])
        assert workspace.objects[again["image_key"]] == made

    def test_another_seed_gives_another_picture(self, generate, workspace, ordinary):
        assert not np.array_equal(picture(workspace, generate(seed=2)), ordinary)

    def test_progress_counts_up_to_the_end(self, generate, workspace):
        generate()
        stages = list(dict.fromkeys(stage for stage, *_ in workspace.said))
        assert stages == [
            "fusion-1",
            "diffusion-1",
            "color-1",
            "fusion-2",
            "diffusion-2",
            "color-2",
            "retouch",
            "enhance",
        ]
        steps = [step for _, step, *_ in workspace.said]
        assert steps == sorted(steps)
        assert workspace.said[-1][1] == workspace.said[-1][2]

    def test_stages_are_kept_on_request(self, generate, workspace, models, monkeypatch):
        monkeypatch.setattr(models.settings.generate, "keep_stages", True)
        stages = generate(color_shift_middle=False)["stages"]
        whole = ["1-fusion-1", "2-diffusion-1", "3-fusion-2", "4-diffusion-2", "5-color-2", "6-retouch", "7-enhance"]
        assert list(stages) == whole
        assert all(decoded(workspace.objects[key]).ndim == 3 for key in stages.values())
        assert stages["1-fusion-1"].endswith("/stages/1-fusion-1.png")


class TestKnobs:
    def test_with_everything_off_the_template_comes_back(self, generate, workspace):
        off = {"apply_face_fusion_before": False, "apply_face_fusion_after": False}
        off |= {"color_shift_middle": False, "color_shift_last": False}
        off |= {"skin_retouching_bool": False, "photo_enhancement_bool": False}
        data = generate(first_denoising_strength=0.0, second_denoising_strength=0.0, **off)
        assert not changed(workspace, data, pictures.hopper()).any()

    def test_the_user_none_leaves_the_face(self, generate, workspace):
        data = generate(user_id="none")
        assert not changed(workspace, data, pictures.hopper()).any()
        assert data["faces"][0]["distance"] == {"before": None, "after": None}

    @pytest.mark.parametrize("crop", [True, False])
    def test_the_background_is_the_templates(self, generate, workspace, crop):
        where = changed(workspace, generate(crop_face_preprocess=crop), pictures.hopper())
        assert where[140:326, 181:368].mean() > 0.6
        assert not where[:20].any()
        assert not where[480:].any()

    @pytest.mark.parametrize(
        "knobs",
        [
            {"apply_face_fusion_before": False},
            {"apply_face_fusion_after": False},
            {"more_like_me": 1.0},
            {"first_denoising_strength": 0.0},
            {"second_diffusion_steps": 12},
            {"mask_region": "face"},
            {"color_shift_middle": False},
            {"color_shift_last": False},
            {"crop_face_preprocess": False},
            {"additional_prompt": "in the rain"},
            {"skin_retouching_bool": False},
            {"photo_enhancement_bool": False},
            {"makeup_transfer": True},
        ],
    )
    def test_each_knob_changes_the_picture(self, generate, workspace, ordinary, knobs):
        assert not np.array_equal(picture(workspace, generate(**knobs)), ordinary)

    def test_the_lora_changes_the_picture(self, generate, workspace, ordinary):
        model = json.loads(workspace.objects[keys.model("collins")])
        workspace.objects[keys.model("collins")] = json.dumps(model | {"base_model": "sd15"}).encode()
        data = generate()
        assert not np.array_equal(picture(workspace, data), ordinary)
        assert "sd15" in data["warnings"][0]


class TestSeveralPeople:
    def test_ids_go_to_faces_from_left_to_right(self, generate, workspace, two_in_one):
        data = generate("two.png", ["collins", "hopper"], first_denoising_strength=0.0, second_denoising_strength=0.0)
        assert [face["user_id"] for face in data["faces"]] == ["collins", "hopper"]
        assert data["user_id"] == ["collins", "hopper"]
        assert all(face["distance"]["after"] < 0.6 < face["distance"]["before"] for face in data["faces"])

    def test_none_leaves_one_face_bit_for_bit(self, generate, workspace, two_in_one):
        where = changed(workspace, generate("two.png", ["none", "hopper"]), two_in_one)
        assert not where[:, :512].any()
        assert where[77:167, 688:778].mean() > 0.6

    @pytest.mark.parametrize("user_id", ["collins", ["collins", "hopper", "none"]])
    def test_other_counts_are_refused_with_both_numbers(self, generate, user_id):
        with pytest.raises(
            FaceCountMismatch, match=r"two\.png shows 2 faces, but the request has (1 user_id|3 user_ids):"
        ) as error:
            generate("two.png", user_id)
        assert error.value.field == "configure.user_id"


class TestWhatCannotBeDone:
    def test_no_face_names_the_template(self, generate):
        with pytest.raises(NoFaceInTemplate, match=r"coffee\.jpg") as error:
            generate("coffee.jpg")
        assert error.value.field == "template_image"

    def test_a_template_that_is_not_there_names_it(self, generate):
        with pytest.raises(PhotoUnavailable, match=r"nowhere\.jpg") as error:
            generate("nowhere.jpg")
        assert error.value.field == "template_image"

    def test_a_broken_template_names_it(self, generate):
        with pytest.raises(PhotoUndecodable, match=r"broken\.jpg") as error:
            generate("broken.jpg")
        assert error.value.field == "template_image"

    def test_a_template_over_the_limit_names_it(self, generate, models, monkeypatch):
        monkeypatch.setattr(models.settings.limits, "photo_pixels", 1000)
        with pytest.raises(PhotoTooLarge, match=r"hopper\.png") as error:
            generate()
        assert error.value.field == "template_image"

    def test_an_unknown_user_is_named(self, generate):
        with pytest.raises(UnknownUser, match="nobody-knows") as error:
            generate(user_id="nobody-knows")
        assert error.value.field == "configure.user_id"

    @pytest.mark.parametrize("ending", ["lora.safetensors", "references/0.png", "model.json"])
    @pytest.mark.parametrize("damage", ["gone", "broken"])
    def test_a_damaged_training_asks_for_another(self, generate, workspace, ending, damage):
        for key in [key for key in workspace.objects if "collins" in key and key.endswith(ending)]:
            if damage == "gone":
                del workspace.objects[key]
            else:
                workspace.objects[key] = b"{broken"
        # the LoRA of a run before may be in memory: this one lies under a key of its own
        if ending == "lora.safetensors":
            model = json.loads(workspace.objects[keys.model("collins")])
            old, new = model["lora"], f"{damage}-{model['lora']}"
            if old in workspace.objects:
                workspace.objects[new] = workspace.objects[old]
            workspace.objects[keys.model("collins")] = json.dumps(model | {"lora": new}).encode()
        with pytest.raises(UnknownUser, match=r"collins.*train"):
            generate()

    def test_a_wrong_knob_is_named_before_any_work(self, generate, workspace):
        with pytest.raises(InvalidField, match="more_like_me"):
            generate(more_like_me=1.5)
        assert workspace.said == []
