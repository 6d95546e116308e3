"""Templates as people send them: large and small, lying on their side, transparent; and faces that are refused."""

from io import BytesIO

import cv2
import numpy as np
import pytest
from PIL import Image as Pictures

from functions.generate import portrait, template
from functions.generate.face import light, masks
from functions.generate.models import GenerateModels
from functions.generate.request import FaceAssignment
from shared.errors import UnsuitableFace
from shared.faces import Box, Face
from shared.models import diffusion
from shared.settings import GenerateSettings, ModelSettings, Settings
from tests import beards, color_profiles, pictures
from tests.fake_workspace import FakeWorkspace
from tests.occluders import cover
from tests.trained_users import lora, make_trained_user, make_visible_base

FUSION = {
    "first_denoising_strength": 0.0,
    "second_denoising_strength": 0.0,
    "skin_retouching_bool": False,
    "photo_enhancement_bool": False,
}


@pytest.fixture(scope="module")
def models(engine, tmp_path_factory):
    base = make_visible_base(tmp_path_factory.mktemp("templates") / "base")
    settings = Settings(model=ModelSettings(path=str(base), device="cpu"))
    return GenerateModels(settings, engine, diffusion.load_model(settings.model))


@pytest.fixture(scope="module")
def people(models, tmp_path_factory):
    file = lora(diffusion.load_model(models.settings.model).unet, str(tmp_path_factory.mktemp("loras")))
    return make_trained_user("collins", [pictures.astronaut()[:320, 60:380]], models.engine, file, models.base_model)


@pytest.fixture
def portrayed(models, people):
    def run(data, user_id="collins"):
        workspace = FakeWorkspace(people | {"template": data})
        configure = {"user_id": user_id, "image_format": "png", "seed": 1} | FUSION
        answer = portrait.make_portrait(
            {"request_id": 1, "template_image": "template", "configure": configure}, workspace, models
        )
        made = cv2.imdecode(np.frombuffer(workspace.objects[answer.data["image_key"]], np.uint8), cv2.IMREAD_UNCHANGED)
        return np.ascontiguousarray(made[..., ::-1]), answer.data

    return run


def file(image, kind="PNG", **options):
    stream = BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def near(data):
    return data["faces"][0]["distance"]["after"] < 0.6 < data["faces"][0]["distance"]["before"]


@pytest.mark.parametrize("size", [(512, 600), (512, 340), (1400, 600)])
def test_any_aspect_comes_back_in_its_own_size(portrayed, size):
    canvas = np.full((size[1], size[0], 3), 127, np.uint8)
    part = pictures.hopper()[: size[1]]
    canvas[: part.shape[0], : part.shape[1]] = part
    made, data = portrayed(pictures.png(canvas))
    assert made.shape == canvas.shape
    assert (data["width"], data["height"]) == size
    assert near(data)


@pytest.mark.slow
def test_24_megapixels_come_back_in_their_own_size_and_sharp(portrayed):
    half = cv2.resize(pictures.hopper(), (2048, 2400), interpolation=cv2.INTER_CUBIC)
    large = cv2.copyMakeBorder(half, 0, 5303 - 2400, 0, 4525 - 2048, cv2.BORDER_REPLICATE)
    made, data = portrayed(pictures.jpeg(large))
    assert made.shape == large.shape
    assert near(data)


def test_a_template_on_its_side_by_exif_is_turned_upright(portrayed):
    lying = Pictures.fromarray(pictures.hopper()).transpose(Pictures.Transpose.ROTATE_90)
    exif = Pictures.Exif()
    exif[0x0112] = 6
    made, data = portrayed(file(lying, exif=exif))
    assert made.shape == (600, 512, 3)
    assert near(data)


def test_transparent_parts_are_put_on_white_and_said(portrayed):
    alpha = np.full((600, 512), 255, np.uint8)
    alpha[500:] = 0
    made, data = portrayed(file(Pictures.fromarray(np.dstack([pictures.hopper(), alpha]))))
    assert made.shape == (600, 512, 3)
    assert (made[520:] == 255).all()
    assert near(data)
    assert any("white" in warning for warning in data["warnings"])


def test_a_beard_too_long_to_be_taken_off_is_said(portrayed, engine):
    hopper = pictures.hopper()
    points = engine.detect(hopper)[0].landmarks
    long = beards.grow(hopper, points, beards.full(points, hopper.shape[:2], 0.5))

    def told(template):
        return [one for one in portrayed(pictures.png(template))[1]["warnings"] if "beard" in one]

    assert told(long) == ["face 1 from the left: the template's beard reaches further down than it is taken off"]
    assert told(hopper) == []


def test_a_tiny_face_is_refused_with_its_width_and_the_limit(portrayed):
    tiny = cv2.resize(pictures.hopper(), None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    with pytest.raises(UnsuitableFace, match=r"the face is 4\d pixels wide, less than the limit of 48") as error:
        portrayed(pictures.png(tiny))
    assert error.value.field == "template_image"


def test_a_tiny_face_that_nobody_takes_is_no_reason(portrayed):
    tiny = cv2.resize(pictures.hopper(), None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    made, _ = portrayed(pictures.png(tiny), "none")
    assert np.array_equal(made, tiny)


@pytest.fixture(scope="module")
def turned(models):
    """Makes landmarks of a face that is turned aside."""
    (face,) = models.engine.detect(pictures.astronaut())

    def turn(degrees):
        points = face.landmarks * 2
        middle = points.mean(axis=0)
        depth = 120 * np.exp(-(((points[:, 0] - middle[0]) / 60) ** 2))  # the nose is nearer than the ears
        angle = np.radians(degrees)
        points[:, 0] = middle[0] + (points[:, 0] - middle[0]) * np.cos(angle) + depth * np.sin(angle)
        return Face(Box(*points.min(axis=0), *points.max(axis=0)), points, 1.0)

    return turn


def assign(*users: str) -> list[FaceAssignment]:
    return [FaceAssignment(user) for user in users]


def test_a_profile_is_refused_with_its_angle_and_which_face_it_is(turned):
    limits = GenerateSettings()
    template.check_faces([turned(0)], assign("ann"), "t.jpg", limits)
    with pytest.raises(UnsuitableFace, match=r"t\.jpg: face 2 from the left looks \d+ degrees to the side.*'none'"):
        template.check_faces([turned(0), turned(60)], assign("ann", "bob"), "t.jpg", limits)
    template.check_faces([turned(0), turned(60)], assign("ann", "none"), "t.jpg", limits)
    template.check_faces([turned(60)], assign("ann"), "t.jpg", GenerateSettings(most_turned=90))


def test_the_second_of_a_row_that_looks_away_is_refused_by_a_real_picture(portrayed):
    ids = ["none"] * 6
    ids[4] = "collins"  # in profile
    with pytest.raises(UnsuitableFace, match="face 5 from the left"):
        portrayed(pictures.png(pictures.group()), ids)


def test_those_of_a_row_that_look_away_need_no_none(portrayed):
    """The second and the fifth do; the last of four people takes the sixth face, and the answer says who is where."""
    row = pictures.group()
    made, data = portrayed(pictures.png(row), ["none", "none", "none", "collins"])
    assert [face["user_id"] for face in data["faces"]] == ["none"] * 5 + ["collins"]
    for number in (2, 5):
        assert any(one.startswith(f"template_image: face {number} from the left looks") for one in data["warnings"])
    left, top, right, bottom = data["faces"][5]["box"]
    changed = (made != row).any(axis=2)
    assert changed[top:bottom, left:right].mean() > 0.5
    assert not changed[:, : data["faces"][4]["box"][2]].any()


EVERYTHING = {
    "background_restore": True,
    "makeup_transfer": True,
    "makeup_transfer_ratio": 0.8,
    "skin_retouching_bool": True,
    "photo_enhancement_bool": True,
    "first_denoising_strength": 0.5,
    "first_diffusion_steps": 6,
    "second_denoising_strength": 0.5,
    "second_diffusion_steps": 6,
}


@pytest.fixture
def rendered(models, people):
    """The portrait's file as Pillow reads it, of a template and knobs."""

    def run(data, **knobs):
        workspace = FakeWorkspace(people | {"template": data})
        configure = {"user_id": "collins", "image_format": "png", "seed": 1} | FUSION | knobs
        answer = portrait.make_portrait(
            {"request_id": 1, "template_image": "template", "configure": configure}, workspace, models
        )
        return Pictures.open(BytesIO(workspace.objects[answer.data["image_key"]]))

    return run


@pytest.mark.parametrize("kind", ["cup", "hand", "microphone"])
def test_what_lies_before_a_face_stays_before_it_through_all_stages(rendered, models, kind):
    image = pictures.hopper()
    (face,) = models.engine.detect(image)
    covered, alpha = cover(kind, image, face.landmarks)
    made = np.asarray(rendered(pictures.png(covered), **EVERYTHING | {"background_restore": False}))
    deep = cv2.erode((alpha > 0.99).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    same = (made == covered).all(axis=-1)
    near = masks.face(face.landmarks, image.shape[:2], -0.05, 0.0) > 0
    assert same[deep & near].mean() > 0.98
    # far from the face it may move by a part of a pixel, with all that is there
    assert np.abs(made.astype(int) - covered)[deep & ~near].mean() < 4
    outline = masks.face(face.landmarks, image.shape[:2]) > 0.9
    assert same[outline & (alpha == 0)].mean() < 0.2, "the face itself is another's"


def uncolored(image):
    return Pictures.fromarray(image).convert("L")


@pytest.mark.parametrize("enhancement", ["photo_fix", "super_resolution"])
def test_a_gray_template_gives_a_gray_portrait_whatever_is_asked_for(rendered, enhancement):
    gray = uncolored(pictures.hopper()[:400])
    made = np.asarray(rendered(file(gray), photo_enhancement_method=enhancement, **EVERYTHING))
    assert np.ptp(made, axis=-1).max() == 0
    assert enhancement == "super_resolution" or np.any(made[..., 0] != np.asarray(gray))


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_gray_that_is_stored_in_colors_is_gray(rendered, kind):
    template_file = file(uncolored(pictures.hopper()).convert("RGB"), kind)
    assert np.ptp(np.asarray(rendered(template_file)), axis=-1).max() == 0


@pytest.mark.parametrize("name", ["ProPhoto", "Display P3"])
def test_a_template_of_a_wide_space_gives_the_portrait_that_it_gives_in_srgb(rendered, name):
    profile = color_profiles.rgb(name)
    own = color_profiles.in_space(pictures.hopper(), profile)
    wide = rendered(file(Pictures.fromarray(own), icc_profile=profile))
    usual = np.asarray(rendered(pictures.png(pictures.hopper())))
    assert wide.info["icc_profile"] == profile
    outside = np.all(usual == pictures.hopper(), axis=-1)
    outside = cv2.erode(outside.astype(np.uint8), np.ones((31, 31))) > 0
    assert np.array_equal(np.asarray(wide)[outside], own[outside])
    # the landmarks of two such files lie a little apart: no pixels are compared, but what colors there are
    shown = (color_profiles.in_srgb(np.asarray(wide), profile), usual)
    colors = [np.quantile(light.to_lab(one)[~outside], (0.01, 0.1, 0.5, 0.9, 0.99), axis=0) for one in shown]
    assert np.abs(colors[0] - colors[1]).max() < 3
