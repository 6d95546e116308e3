"""Retouching, make-up, enhancement and background as a sender sees them: a request in, a PNG out."""

import json
from io import BytesIO

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageCms

from functions.generate.face import masks
from functions.generate.handler import GenerateFunction
from functions.generate.models import GenerateModels
from functions.generate.provenance import MADE_BY_A_MODEL
from shared.cli.console import bucket_at
from shared.cli.requests import save_portrait
from shared.errors import PhotoTooLarge
from shared.models import diffusion
from shared.operations.client import Client
from shared.settings import ModelSettings, Settings
from tests import pictures
from tests.fake_workspace import FakeWorkspace
from tests.trained_users import lora, make_trained_user, make_visible_base

PLAIN = {"skin_retouching_bool": False, "photo_enhancement_bool": False}
NO_DIFFUSION = {"first_denoising_strength": 0.0, "second_denoising_strength": 0.0}


@pytest.fixture(scope="module")
def models(engine, tmp_path_factory):
    base = make_visible_base(tmp_path_factory.mktemp("knobs") / "base")
    settings = Settings(model=ModelSettings(path=str(base), device="cpu"))
    return GenerateModels(settings, engine, diffusion.load_model(settings.model))


@pytest.fixture(scope="module")
def face(models):
    """Grace Hopper's, as a mask: from the chin to the forehead."""
    (found,) = models.engine.detect(pictures.hopper())
    return masks.face(found.landmarks, (600, 512), 0.0, 0.0) > 0.5


@pytest.fixture(scope="module")
def around(face):
    """Her face, and a ninth of its width around it: masks are soft, and it is moved a little."""
    return cv2.dilate(face.astype(np.uint8), np.ones((41, 41), np.uint8)) > 0


@pytest.fixture(scope="module")
def bucket(models, tmp_path_factory):
    unet = diffusion.load_model(models.settings.model).unet
    file = lora(unet, str(tmp_path_factory.mktemp("loras")))
    people = make_trained_user("collins", [pictures.astronaut()[:320, 60:380]], models.engine, file, models.base_model)
    profiled = BytesIO()
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Pillow.fromarray(pictures.hopper()).save(profiled, "PNG", icc_profile=profile)
    return people | {"hopper.png": pictures.png(pictures.hopper()), "profiled.png": profiled.getvalue()}


@pytest.fixture
def generate(bucket, models):
    def run(template="hopper.png", user_id="collins", **knobs):
        workspace = FakeWorkspace(bucket)
        configure = {"user_id": user_id, "seed": 1, "image_format": "png"} | NO_DIFFUSION | knobs
        body = {"request_id": "r1", "template_image": template, "configure": configure}
        data = GenerateFunction(models).answer(body, workspace).data
        return data, Pillow.open(BytesIO(workspace.objects[data["image_key"]])), workspace

    return run


@pytest.fixture(scope="module")
def plain(bucket, models):
    """The portrait without any of the knobs of this file."""
    workspace = FakeWorkspace(bucket)
    configure = {"user_id": "collins", "seed": 1, "image_format": "png"} | NO_DIFFUSION | PLAIN
    body = {"request_id": "r1", "template_image": "hopper.png", "configure": configure}
    data = GenerateFunction(models).answer(body, workspace).data
    return np.asarray(Pillow.open(BytesIO(workspace.objects[data["image_key"]])))


@pytest.mark.parametrize("knobs", [{"skin_retouching_bool": True}, {"makeup_transfer": True}])
def test_each_knob_changes_the_face_and_nothing_else(generate, plain, face, around, knobs):
    _, picture, _ = generate(**PLAIN | knobs)
    changed = np.any(np.asarray(picture) != plain, axis=-1)
    assert changed[face].sum() > 300
    assert not changed[~around].any()


def test_enhancement_gives_a_retouched_face_its_detail_back_and_changes_nothing_else(generate, face, around):
    """A fused face alone is as sharp as the template already; retouching takes some of its detail."""
    soft, sharp = (
        np.asarray(generate(**PLAIN | {"skin_retouching_bool": True, "photo_enhancement_bool": enhanced})[1])
        for enhanced in (False, True)
    )
    changed = np.any(sharp != soft, axis=-1)
    assert changed[face].sum() > 300
    assert not changed[~around].any()


def test_make_up_of_ratio_0_is_none(generate, plain):
    _, picture, _ = generate(**PLAIN, makeup_transfer=True, makeup_transfer_ratio=0.0)
    assert np.array_equal(np.asarray(picture), plain)


def test_methods_without_their_knob_do_nothing(generate, plain):
    _, picture, _ = generate(**PLAIN, photo_enhancement_method="super_resolution", makeup_transfer_ratio=1.0)
    assert np.array_equal(np.asarray(picture), plain)


class TestSuperResolution:
    def test_the_portrait_has_twice_the_templates_size(self, generate):
        data, picture, _ = generate(photo_enhancement_method="super_resolution")
        assert (data["width"], data["height"]) == picture.size == (1024, 1200)
        assert data["enhancement"] == {"method": "super_resolution", "by": "Lanczos and unsharp mask, no network"}

    def test_a_face_that_is_left_is_enlarged_with_the_rest(self, generate):
        _, picture, _ = generate(user_id="none", photo_enhancement_method="super_resolution")
        assert picture.size == (1024, 1200)
        reduced = np.asarray(picture.resize((512, 600), Pillow.Resampling.BOX)).astype(int)
        assert np.abs(reduced - pictures.hopper()).mean() < 3

    def test_one_that_would_be_too_large_is_refused_before_any_work(self, generate, models, monkeypatch):
        monkeypatch.setattr(models.settings.limits, "photo_pixels", 1024 * 1200 - 1)
        assert generate(user_id="none")[1].size == (512, 600)
        with pytest.raises(PhotoTooLarge, match="super_resolution") as error:
            generate(photo_enhancement_method="super_resolution")
        assert error.value.field == "template_image"


class TestBackground:
    def test_it_is_repainted_and_the_person_is_not(self, generate, plain, face):
        data, picture, workspace = generate(**PLAIN, background_restore=True)
        changed = np.any(np.asarray(picture) != plain, axis=-1)
        assert changed[:60, 350:500].mean() > 0.5  # the curtain to her left
        assert not changed[face].any()
        assert not changed[420:560, 150:400].any()  # her jacket
        assert workspace.said[-1][1] == workspace.said[-1][2]
        assert "background" in {stage for stage, *_ in workspace.said}
        assert data["warnings"] == []

    def test_a_person_who_is_left_is_no_background_either(self, generate, face):
        _, picture, _ = generate(user_id="none", background_restore=True)
        changed = np.any(np.asarray(picture) != pictures.hopper(), axis=-1)
        assert changed[:60, 350:500].any()
        assert not changed[face].any()

    def test_the_seed_repeats_it(self, generate):
        pictures_made = [np.asarray(generate(user_id="none", background_restore=True, seed=s)[1]) for s in (1, 1, 2)]
        assert np.array_equal(pictures_made[0], pictures_made[1])
        assert not np.array_equal(pictures_made[0], pictures_made[2])

    def test_the_embedded_model_says_how_little_it_knows_of_backgrounds(self, generate, models, monkeypatch):
        monkeypatch.setattr(models, "base_model", "portrait-tiny")
        (warning,) = generate(user_id="none", background_restore=True)[0]["warnings"]
        assert warning.startswith("background_restore: portrait-tiny knows only faces")


def test_stages_of_the_whole_picture_are_kept_on_request(generate, models, monkeypatch):
    monkeypatch.setattr(models.settings.generate, "keep_stages", True)
    whole = {"background_restore": True, "photo_enhancement_method": "super_resolution"}
    data, picture, workspace = generate(user_id="none", **whole)
    kept = [Pillow.open(BytesIO(workspace.objects[key])) for key in data["stages"].values()]
    assert list(data["stages"]) == ["1-background", "2-super-resolution"]
    assert [one.size for one in kept] == [(512, 600), (1024, 1200)]
    assert np.array_equal(np.asarray(kept[1]), np.asarray(picture))


class TestProvenance:
    def test_the_portrait_says_what_made_it_and_nothing_of_whom(self, generate):
        data, picture, _ = generate(additional_prompt="as Bob", sex="other")
        parameters = json.loads(picture.text["parameters"])
        assert parameters["seed"] == data["seed"] == 1
        assert parameters["knobs"]["first_denoising_strength"] == 0.0
        assert parameters["enhanced_by"] == data["enhancement"]["by"]
        assert MADE_BY_A_MODEL in picture.text["XML:com.adobe.xmp"]
        inside = "".join(picture.text.values())
        assert not [word for word in ("collins", "hopper", "Bob", "other", "r1") if word in inside]

    def test_a_template_that_is_left_as_it_is_is_no_ai_picture(self, generate):
        data, picture, _ = generate(user_id="none")
        assert MADE_BY_A_MODEL not in picture.text["XML:com.adobe.xmp"]
        assert "enhancement" not in data

    def test_the_same_request_gives_the_same_bytes(self, generate):
        made = [generate()[2].objects["results/any/r1/a1/portrait.png"] for _ in range(2)]
        assert made[0] == made[1]

    def test_the_file_that_the_command_line_saves_says_it_too(self, generate, tmp_path):
        data, picture, workspace = generate("profiled.png")
        client = Client(bucket_at(str(tmp_path / "bucket")))
        client.bucket.put(data["image_key"], workspace.objects[data["image_key"]])
        save_portrait(client, {"data": data}, tmp_path / "out" / "portrait.png")
        saved = Pillow.open(tmp_path / "out" / "portrait.png")
        assert saved.text == picture.text
        assert saved.info["icc_profile"] == picture.info["icc_profile"]

    def test_the_templates_color_profile_is_kept(self, generate):
        assert "icc_profile" not in generate(user_id="none")[1].info
        profile = generate("profiled.png", "none")[1].info["icc_profile"]
        assert ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(BytesIO(profile))).startswith("sRGB")
