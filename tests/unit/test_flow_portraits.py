"""Rectified flow in portraits, beside diffusers' own pipelines, on tiny random models of the very classes."""

from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, Flux2KleinInpaintPipeline, ZImageImg2ImgPipeline, ZImageInpaintPipeline
from PIL import Image

from functions.generate.diffusion.img2img import Denoising, Diffuser
from functions.generate.diffusion.inpaint_region import InpaintRegion
from functions.generate.diffusion.lora_cache import LoraCache, LoraError
from functions.generate.diffusion.prompt import PromptCache
from shared.faces import Box
from shared.models.diffusion import load_model
from shared.settings import ModelSettings
from tests.flow_loras import flow_lora
from tests.pictures import astronaut, hopper
from tests.tiny_base import make_tiny_base
from tests.tiny_flow import MAKERS
from tests.trained_users import lora

SIZE, STEPS, SEED = 64, 10, 5
LANDMARKS = np.zeros((68, 2))
KINDS = list(MAKERS)
BLOCK = SIZE // 4  # pixels of a mask's square: a whole number of tokens, so that all ways to scale a mask agree


class MeanAutoencoder(AutoencoderKL):
    """Returns latents and no distribution, so that a pipeline of Z-Image draws nothing but its noise."""

    def encode(self, pixels, return_dict=True):
        return SimpleNamespace(latents=super().encode(pixels).latent_dist.mode())


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {
        (kind, guidance): make(tmp_path_factory.mktemp(kind) / "base", SIZE, guidance)
        for kind, make in MAKERS.items()
        for guidance in (1.0, 3.0)
    }


def opened(folder, **settings):
    return load_model(ModelSettings(path=str(folder), device="cpu", **settings))


@pytest.fixture
def model(folders, kind):
    return opened(folders[kind, 1.0])


def picture():
    return cv2.resize(astronaut()[:320, 60:380], (SIZE, SIZE), interpolation=cv2.INTER_AREA)


def soft_mask():
    squares = np.linspace(0, 1, (SIZE // BLOCK) ** 2, dtype=np.float32).reshape(SIZE // BLOCK, -1)
    return np.kron(squares, np.ones((BLOCK, BLOCK), np.float32))


MASKS = {
    "everywhere": np.ones((SIZE, SIZE), np.float32),
    "half": np.kron(np.array([[0, 1], [1, 0]], np.float32), np.ones((SIZE // 2, SIZE // 2), np.float32)),
    "soft": soft_mask(),
}


def region(model, mask, seed=SEED, who="ann", image=None, reference=None):
    image = picture() if image is None else image
    return InpaintRegion(image, Box(0, 0, SIZE, SIZE), mask, LANDMARKS, PromptCache(model).of(who), seed, reference)


class Watched:
    """The first latents that an autoencoder is given to decode."""

    def __init__(self, vae):
        self.latents, decode = None, vae.decode

        def watching(latents, *arguments, **named):
            self.latents = latents.clone() if self.latents is None else self.latents
            return decode(latents, *arguments, **named)

        vae.decode = watching


def ours(model, mask, strength, reference=None):
    watched = Watched(model.autoencoder)
    canvas = region(model, mask, reference=reference)
    Diffuser(model).repaint([canvas], Denoising(STEPS, strength, count=model.step_count))
    return watched.latents


def stock_z_image(folder, mask, strength, guidance):
    pipeline = (ZImageImg2ImgPipeline if mask.min() == 1 else ZImageInpaintPipeline).from_pretrained(folder)
    pipeline.vae.__class__ = MeanAutoencoder
    masked = {}
    if mask.min() < 1:
        pipeline.mask_processor.register_to_config(do_binarize=False)
        masked = {"mask_image": torch.from_numpy(mask)[None, None]}
    # its scale counts from 0: the prediction for the prompt plus that many times the difference
    return stock(pipeline, strength, guidance - 1, **masked)


def stock_klein(folder, mask, strength, guidance, **more):
    pipeline = Flux2KleinInpaintPipeline.from_pretrained(folder)
    pipeline.mask_processor.register_to_config(do_binarize=False)
    return stock(pipeline, strength, guidance, mask_image=torch.from_numpy(mask)[None, None], **more)


def stock(pipeline, strength, guidance, **masked):
    pipeline.set_progress_bar_config(disable=True)
    watched = Watched(pipeline.vae)
    pipeline(
        prompt="photo of ann person",
        image=Image.fromarray(picture()),
        strength=strength,
        height=SIZE,
        width=SIZE,
        num_inference_steps=STEPS,
        guidance_scale=guidance,
        generator=[torch.Generator().manual_seed(SEED)],
        output_type="pt",
        **masked,
    )
    return watched.latents


STOCK = {"z-image": stock_z_image, "flux2-klein": stock_klein}


@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("mask", list(MASKS))
@pytest.mark.parametrize("strength", [0.3, 0.55, 1.0])
def test_a_repainted_picture_is_that_of_diffusers_pipeline(folders, kind, strength, mask, guidance):
    folder = folders[kind, guidance]
    mine = ours(opened(folder), MASKS[mask], strength)
    theirs = STOCK[kind](folder, MASKS[mask], strength, guidance)
    assert theirs.std() > 0.1
    assert torch.allclose(mine, theirs, atol=1e-4)


class TestThePersonsPhoto:
    """klein looks at it if the model's card says so."""

    @pytest.fixture
    def photo(self):
        return cv2.resize(hopper()[:300, :300], (SIZE, SIZE), interpolation=cv2.INTER_AREA)

    def looking(self, folder):
        model = opened(folder)
        return replace(model, working=model.working.model_copy(update={"reference": True}))

    @pytest.mark.parametrize("guidance", [1.0, 3.0])
    def test_it_is_the_reference_of_diffusers_pipeline(self, folders, photo, guidance):
        folder = folders["flux2-klein", guidance]
        mine = ours(self.looking(folder), MASKS["soft"], 0.55, photo)
        theirs = stock_klein(folder, MASKS["soft"], 0.55, guidance, image_reference=Image.fromarray(photo))
        assert torch.allclose(mine, theirs, atol=1e-4)
        assert not torch.allclose(mine, ours(opened(folder), MASKS["soft"], 0.55, photo), atol=1e-3)

    def test_each_face_of_a_batch_has_its_own(self, folders, photo):
        model = self.looking(folders["flux2-klein", 1.0])
        denoising, diffuser = Denoising(4, 0.5, count=model.step_count), Diffuser(model)
        photos = [photo, photo[:, ::-1].copy(), picture()]
        canvases = [region(model, MASKS["everywhere"], reference=one) for one in photos]
        together = diffuser.repaint(canvases, denoising)
        for canvas, made in zip(canvases, together, strict=True):
            assert np.abs(made.astype(int) - diffuser.repaint([canvas], denoising)[0]).max() <= 1
        assert not np.array_equal(together[0], together[2])

    def test_its_memory_is_planned(self, folders):
        folder = folders["flux2-klein", 1.0]
        tokens = [model.footprint().tokens for model in (opened(folder), self.looking(folder))]
        assert tokens[1] - tokens[0] == (SIZE // 16) ** 2

    def test_it_is_off_where_the_family_does_not_look_at_pictures(self, folders):
        model = self.looking(folders["z-image", 1.0])
        assert not model.refers_to_person
        canvases = [region(model, MASKS["everywhere"], reference=one) for one in (picture(), None)]
        one, other = (
            Diffuser(model).repaint([canvas], Denoising(4, 0.5, count=model.step_count)) for canvas in canvases
        )
        assert np.array_equal(one[0], other[0])


def test_words_and_strength_and_seed_matter(model):
    def painted(strength=0.6, seed=1, who="ann"):
        canvas = region(model, MASKS["everywhere"], seed, who)
        return Diffuser(model).repaint([canvas], Denoising(STEPS, strength, count=model.step_count))[0].astype(int)

    assert np.array_equal(painted(), painted())
    for other in (painted(0.9), painted(seed=2), painted(who="somebody else altogether")):
        assert np.abs(other - painted()).max() > 0


def test_nothing_outside_of_the_mask_changes(model):
    mask = np.zeros((SIZE, SIZE), np.float32)
    mask[10:40, 20:50] = 1
    (painted,) = Diffuser(model).repaint([region(model, mask)], Denoising(STEPS, 0.8, count=model.step_count))
    assert np.array_equal(painted[mask == 0], picture()[mask == 0])
    assert not np.array_equal(painted, picture())


@pytest.mark.parametrize(("steps", "strength", "evaluations"), [(10, 0.45, 5), (10, 0.3, 3), (7, 1.0, 7), (10, 0.0, 0)])
def test_steps_times_strength_are_rounded_up_as_the_pipelines_do(model, steps, strength, evaluations):
    said = []
    denoising = Denoising(steps, strength, count=model.step_count)
    Diffuser(model).repaint([region(model, MASKS["half"])], denoising, lambda: said.append(1))
    assert len(said) == denoising.effective == evaluations


def test_a_distilled_model_takes_few_steps_without_guidance(tmp_path):
    model = opened(MAKERS["flux2-klein"](tmp_path / "base", SIZE, 4.0, is_distilled=True))
    assert (model.working.guidance, model.working.most_steps) == (1.0, 4)
    assert Denoising(50, 0.45, count=model.step_count).effective == 2


class TestLoras:
    PEOPLE = ("ann", "cleo", "bob", None)  # Cleo's has another rank; the last face has none

    @pytest.fixture
    def files(self, model):
        return {
            name: flow_lora(model, rank, seed) for name, rank, seed in (("ann", 4, 1), ("bob", 4, 2), ("cleo", 8, 3))
        }

    @pytest.fixture
    def adapters(self, model):
        return LoraCache(model.denoiser, prefix=model.lora_prefix, unadaptable=model.unadaptable)

    def active(self, adapters, files, *names):
        return adapters.activate(
            [name and adapters.lora(name, lambda: "etag", partial(files.get, name)) for name in names]
        )

    @pytest.fixture
    def predict(self, model):
        words, times = model.condition("photo of ann person"), torch.tensor(500.0)
        latents = torch.linspace(-1, 1, int(np.prod(model.latent_shape))).reshape(1, *model.latent_shape)

        def run():
            with torch.inference_mode():
                return model.predict(latents, times, words)

        return run

    def test_several_people_in_one_batch_are_those_alone_but_for_rounding(self, model, adapters, files):
        images = [
            picture(),
            picture()[:, ::-1].copy(),
            cv2.resize(hopper()[:300, :300], (SIZE, SIZE)),
            picture()[::-1].copy(),
        ]
        canvases = [
            region(model, MASKS["everywhere"], seed, str(name), image)
            for seed, (name, image) in enumerate(zip(self.PEOPLE, images, strict=True))
        ]
        denoising, diffuser = Denoising(4, 0.5, count=model.step_count), Diffuser(model)
        with self.active(adapters, files, *self.PEOPLE):
            together = diffuser.repaint(canvases, denoising)
        bare = diffuser.repaint(canvases, denoising)
        for name, canvas, made in zip(self.PEOPLE, canvases, together, strict=True):
            with self.active(adapters, files, name):
                (alone,) = diffuser.repaint([canvas], denoising)
            assert np.abs(made.astype(int) - alone).max() <= 1
            assert np.mean(made != alone) < 1e-2
        assert all(np.abs(bare[i].astype(int) - together[i]).max() > 1 for i in range(3))

    def test_the_base_is_bit_identical_after_200_users(self, model, adapters, files, predict):
        bare, weights = predict(), {name: one.clone() for name, one in model.denoiser.state_dict().items()}
        expected = {}
        for index in range(200):
            name = ("ann", "bob", "cleo")[index % 3]
            lora = adapters.lora(f"{name}-{index}", lambda: "etag", partial(files.get, name))
            with adapters.activate([lora]):
                seen = predict()
            assert torch.equal(expected.setdefault(name, seen), seen)
            assert not torch.equal(seen, bare)
        assert torch.equal(predict(), bare)
        after = {name.replace(".base_layer", ""): one for name, one in model.denoiser.state_dict().items()}
        assert all(torch.equal(after[name], one) for name, one in weights.items())

    def test_a_lora_for_a_unet_is_refused_by_its_names(self, tmp_path, adapters):
        file = lora(opened(make_tiny_base(tmp_path / "sd")).denoiser, str(tmp_path))
        with pytest.raises(LoraError, match="made for a unet, and the base model has a transformer"):
            adapters.lora("ann", lambda: "etag", lambda: file)

    def test_a_lora_of_the_other_architecture_is_refused(self, folders, kind, adapters):
        other = next(one for one in KINDS if one != kind)
        file = flow_lora(opened(folders[other, 1.0]), 4, 1)
        with pytest.raises(LoraError, match="does not fit the base model"):
            adapters.lora("ann", lambda: "etag", lambda: file)

    def test_a_lora_of_layers_that_see_all_pictures_as_one_is_refused(self, folders):
        model = opened(folders["z-image", 1.0])
        adapters = LoraCache(model.denoiser, prefix=model.lora_prefix, unadaptable=model.unadaptable)
        file = flow_lora(model, 4, 1, targets=("to_q", "cap_embedder.1"))
        with pytest.raises(LoraError, match=r"adapts cap_embedder\.1, which all pictures of a batch go through as one"):
            adapters.lora("ann", lambda: "etag", lambda: file)
