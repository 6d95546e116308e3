"""ControlNets, guidance and masks against diffusers' own pipelines, on random nets; and what is left undone."""

import json

import cv2
import numpy as np
import pytest
import torch
from diffusers import (
    ControlNetModel,
    StableDiffusionControlNetInpaintPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLControlNetImg2ImgPipeline,
)
from PIL import Image

from functions.generate.diffusion import control_images as drawing
from functions.generate.diffusion.img2img import Denoising, Diffuser
from functions.generate.diffusion.inpaint_region import InpaintRegion
from functions.generate.diffusion.prompt import PromptCache
from functions.generate.face.landmarks import EYES
from shared.faces import Box
from shared.models import controls, diffusion
from shared.models.diffusion import EMBEDDED_FOLDER, PROFILE_FILE, BaseModelMissing, ModelProfile
from shared.settings import ControlSettings, ModelSettings, Settings
from tests.pictures import astronaut
from tests.tiny_base import make_tiny_base, make_tiny_control
from tests.tiny_sdxl import make_tiny_sdxl

SIZE = 64
LANDMARKS = np.random.default_rng(0).uniform(15, 50, (68, 2))
ROUNDING = 0.5 + 1e-2  # levels: ours is rounded to 8 bits, the pipeline's is not


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_tiny_base(tmp_path_factory.mktemp("base") / "base", SIZE, channels=4)


@pytest.fixture
def model(base):
    return diffusion.load_model(ModelSettings(path=str(base), device="cpu"))


@pytest.fixture(scope="module")
def nets(base, tmp_path_factory):
    """Folders of three ControlNets."""
    unet = diffusion.load_model(ModelSettings(path=str(base), device="cpu")).unet
    folder = tmp_path_factory.mktemp("nets")
    return {kind: make_tiny_control(folder / kind, unet, seed) for seed, kind in enumerate(("canny", "pose", "tile"))}


@pytest.fixture(scope="module")
def patch():
    return cv2.resize(astronaut()[60:220, 140:300], (SIZE, SIZE), interpolation=cv2.INTER_AREA)


@pytest.fixture(scope="module")
def mask():
    """Of whole latents, since the pipeline's masks are hard."""
    painted = np.zeros((SIZE, SIZE), np.float32)
    painted[16:48, 16:56] = 1
    return painted


def working(model, **changes):
    return type(model)(**vars(model) | {"working": model.working.model_copy(update=changes)})


def canvas(model, patch, mask, seed=3):
    return InpaintRegion(patch, Box(0, 0, SIZE, SIZE), mask, LANDMARKS, PromptCache(model).of("ann"), seed)


def brought_back(vae, patch, mask, latents):
    """What the difference of two decoded latents makes of the patch, by the stock autoencoder."""
    pixels = torch.from_numpy(patch).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.inference_mode():
        before, after = (vae.decode(one).sample.clamp(-1, 1)[0] for one in (vae.encode(pixels).latents, latents))
    difference = (after - before).permute(1, 2, 0).numpy() * 127.5
    return np.clip(patch + difference * mask[..., None], 0, 255)


def loaded(nets, model, **settings):
    asked = [ControlSettings(kind=kind, path=str(nets[kind]), **options) for kind, options in settings.items()]
    return controls.load_controls(asked, model)


CASES = {
    "no control, no guidance": ({}, 1.0),
    "guidance": ({}, 4.0),
    "one control": ({"canny": {"first": 0.7, "end": 1.0}}, 1.0),
    "three controls of different intervals, guidance": (
        {
            "canny": {"first": 0.5, "end": 0.6},
            "pose": {"first": 0.8, "start": 0.3, "end": 1.0},
            "tile": {"first": 1.0, "end": 0.4},
        },
        4.0,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_masked_diffusion_is_the_one_of_diffusers_inpainting_pipeline(base, model, nets, patch, mask, case):
    settings, guidance = CASES[case]
    model = working(model, guidance=guidance, guided=None)
    (ours,) = Diffuser(model, loaded(nets, model, **settings)).repaint([canvas(model, patch, mask)], Denoising(10, 0.5))
    # the pipeline must have a ControlNet: one of scale 0 stands for none
    asked = {kind: {"first": 0.0, "start": 0.0, "end": 1.0} | one for kind, one in (settings or {"canny": {}}).items()}
    stock = StableDiffusionControlNetInpaintPipeline.from_pretrained(
        base, controlnet=[ControlNetModel.from_pretrained(nets[kind]) for kind in asked], safety_checker=None
    )
    stock.set_progress_bar_config(disable=True)
    latents = stock(
        prompt=model.working.prompt.format(trigger="ann"),
        negative_prompt=model.working.negative_prompt,
        image=Image.fromarray(patch),
        mask_image=Image.fromarray((mask * 255).astype(np.uint8)),
        control_image=[Image.fromarray(drawing.draw_control_image(kind, patch, LANDMARKS)) for kind in asked],
        controlnet_conditioning_scale=[float(one["first"]) for one in asked.values()],
        control_guidance_start=[one["start"] for one in asked.values()],
        control_guidance_end=[one["end"] for one in asked.values()],
        guess_mode=True,
        guidance_scale=guidance,
        num_inference_steps=10,
        strength=0.5,
        generator=torch.Generator().manual_seed(3),
        output_type="latent",
    ).images
    expected = brought_back(stock.vae, patch, mask, latents)
    assert np.abs(expected - patch).max() > 3
    assert np.abs(ours - expected).max() < ROUNDING


def test_sdxl_with_canny_is_the_one_of_diffusers_pipeline(tmp_path, patch):
    base = make_tiny_sdxl(tmp_path / "xl", SIZE)
    model = working(diffusion.load_model(ModelSettings(path=str(base), device="cpu")), guided=None)
    net = make_tiny_control(tmp_path / "canny", model.unet)
    found = loaded({"canny": net}, model, canny={"first": 0.9, "end": 1.0})
    everywhere = np.ones((SIZE, SIZE), np.float32)
    (ours,) = Diffuser(model, found).repaint([canvas(model, patch, everywhere)], Denoising(10, 0.5))
    stock = StableDiffusionXLControlNetImg2ImgPipeline.from_pretrained(
        base, controlnet=ControlNetModel.from_pretrained(net), add_watermarker=False
    )
    stock.set_progress_bar_config(disable=True)
    latents = stock(
        prompt=model.working.prompt.format(trigger="ann"),
        negative_prompt=model.working.negative_prompt,
        image=Image.fromarray(patch),
        control_image=Image.fromarray(drawing.draw_edges(patch)),
        controlnet_conditioning_scale=0.9,
        guess_mode=True,
        guidance_scale=3.0,
        num_inference_steps=10,
        strength=0.5,
        generator=torch.Generator().manual_seed(3),
        output_type="latent",
    ).images
    expected = brought_back(stock.vae, patch, everywhere, latents)
    assert np.abs(expected - patch).max() > 3
    assert np.abs(ours - expected).max() < ROUNDING


class TestWhatCountsForNothing:
    @pytest.fixture
    def calls(self):
        return []

    def count(self, module, calls):
        module.register_forward_hook(lambda *_: calls.append(1))

    def test_is_not_loaded(self, model):
        silent = ControlSettings(kind="canny", path="/nowhere", first=0, second=0)
        assert controls.load_controls([silent], model) == []

    def test_is_not_run_nor_shown_anything_in_a_diffusion_of_scale_zero(self, model, nets, patch, mask, calls):
        (tile,) = loaded(nets, model, tile={"first": 0.0, "second": 1.0})
        self.count(tile.net, calls)
        self.count(tile.embed, calls)
        diffuser, shown = Diffuser(model, [tile]), canvas(model, patch, mask)
        diffuser.repaint([shown], Denoising(10, 0.5, "first"))
        assert calls == []
        diffuser.repaint([shown], Denoising(10, 0.5, "second"))
        assert calls

    def test_is_not_run_outside_of_its_interval_and_embedded_once(self, model, nets, patch, mask, calls):
        (canny,) = loaded(nets, model, canny={"first": 1.0, "start": 0.2, "end": 0.6})
        embedded = []
        self.count(canny.net, calls)
        self.count(canny.embed, embedded)
        Diffuser(model, [canny]).repaint([canvas(model, patch, mask)], Denoising(10, 1.0))
        assert (len(calls), len(embedded)) == (4, 1)

    def test_one_encode_and_two_decodes_are_all_of_the_autoencoder(self, model, patch, mask, calls):
        decodes = []
        self.count(model.vae.encoder, calls)
        self.count(model.vae.decoder, decodes)
        Diffuser(model).repaint([canvas(model, patch, mask)], Denoising(10, 0.5))
        assert (len(calls), len(decodes)) == (1, 2)

    @pytest.mark.parametrize("guided", [None, (0.0, 0.0), (0.7, 5.42), (0.7, 1e9)])
    def test_the_negative_words_are_asked_between_two_noise_levels_only(self, model, patch, mask, guided):
        model = working(model, guidance=4.0, guided=guided)
        seen, levels = [], []
        model.unet.register_forward_pre_hook(lambda module, arguments: seen.append((len(arguments[0]), arguments[1])))
        Diffuser(model).repaint([canvas(model, patch, mask)], Denoising(10, 1.0))
        lowest, highest = guided or (0, np.inf)
        for count, time in seen:
            signal = model.scheduler.alphas_cumprod[time]
            level = float(torch.sqrt((1 - signal) / signal))
            assert count == (2 if lowest < level <= highest else 1)
            levels.append(level)
        assert max(levels) == np.inf
        assert min(levels) < 0.7


class TestControlPictures:
    def test_edges_are_white_where_the_picture_has_them(self, patch):
        half = np.zeros((SIZE, SIZE, 3), np.uint8)
        half[:, SIZE // 2 :] = 255
        drawn = drawing.draw_control_image("canny", half, LANDMARKS)
        assert set(np.unique(drawn)) == {0, 255}
        assert np.all(drawn[:, SIZE // 2 - 1 : SIZE // 2 + 1].any(axis=(1, 2)))
        assert not drawn[:, :28].any()

    def test_the_pose_is_the_70_points_of_openpose(self):
        apart = np.array([(20 + 50 * (index % 10), 20 + 60 * (index // 10)) for index in range(68)], float)
        for eye in EYES:
            apart[eye] = [(x, 470 + 2 * y) for x, y in zip(apart[eye][:, 0], range(6), strict=True)]
        drawn = drawing.draw_control_image("pose", np.zeros((512, 512, 3), np.uint8), apart)
        for x, y in np.rint(apart).astype(int):
            assert drawn[y, x].tolist() == [255, 255, 255]
        assert all(drawn[round(apart[eye][:, 1].mean()), round(apart[eye][:, 0].mean())].all() for eye in EYES)
        assert cv2.connectedComponents(drawn[:, :, 0])[0] - 1 == 70

    def test_the_tile_is_the_patch(self, patch):
        assert drawing.draw_control_image("tile", patch, LANDMARKS) is patch

    def test_landmarks_are_brought_into_the_patch(self):
        placed = InpaintRegion(
            astronaut(), Box(100, 50, 356, 306), None, np.array([[99.5, 49.5], [355.5, 305.5]]), None, 0
        )
        assert np.allclose(placed.patch_landmarks(64), [[-0.5, -0.5], [63.5, 63.5]])


class TestWhatCannotBeLoaded:
    def test_a_control_that_is_not_there(self, model):
        with pytest.raises(BaseModelMissing, match="PHOTOG_MODEL__CONTROLS"):
            controls.load_controls([ControlSettings(kind="canny", path="/nowhere/at/all")], model)

    def test_a_folder_that_is_no_control(self, model, tmp_path):
        with pytest.raises(BaseModelMissing, match="cannot be loaded"):
            controls.load_controls([ControlSettings(kind="canny", path=str(tmp_path))], model)

    def test_a_control_of_another_kind_of_base(self, model, tmp_path):
        other = diffusion.load_model(ModelSettings(path=str(make_tiny_base(tmp_path / "base")), device="cpu"))
        net = make_tiny_control(tmp_path / "net", other.unet)
        with pytest.raises(BaseModelMissing, match=r"canny.*in_channels is 16, that of base is 4"):
            controls.load_controls([ControlSettings(kind="canny", path=str(net))], model)

    def test_an_inpainting_checkpoint_as_base(self, base, tmp_path):
        pipeline = StableDiffusionPipeline.from_pretrained(base, safety_checker=None)
        pipeline.unet = type(pipeline.unet).from_config(dict(pipeline.unet.config) | {"in_channels": 9})
        pipeline.save_pretrained(tmp_path / "nine")
        with pytest.raises(BaseModelMissing, match=r"inpainting checkpoint.*9 channels"):
            diffusion.load_model(ModelSettings(path=str(tmp_path / "nine"), device="cpu"))


def test_controls_are_read_from_the_environment(monkeypatch):
    asked = [{"kind": "canny", "path": "owner/canny"}, {"kind": "tile", "path": "tile"}]
    monkeypatch.setenv("PHOTOG_MODEL__CONTROLS", json.dumps(asked))
    monkeypatch.setenv("PHOTOG_MODEL__FEW_STEP", '{"path": "lcm.safetensors", "steps": 4}')
    settings = Settings().model
    assert [one.kind for one in settings.controls] == ["canny", "tile"]
    assert (settings.few_step.steps, settings.few_step.scheduler) == (4, "lcm")


COSMETIC = (
    "make makeup smil beaut pretty young wrinkl age bags skin glasses earring jewel teeth lips attractive perfect"
)


@pytest.mark.parametrize("profile", ["the default", "portrait-tiny"])
def test_no_words_of_ours_make_up_a_face_or_take_its_glasses(profile):
    said = (
        ModelProfile()
        if profile == "the default"
        else ModelProfile(**json.loads((EMBEDDED_FOLDER / PROFILE_FILE).read_text()))
    )
    words = f"{said.prompt} {said.negative_prompt}".lower().replace("{trigger}", "")
    assert [word for word in COSMETIC.split() if word in words] == []
