"""Masked diffusion and LoRA swapping, on a random base model of the real shape."""

from contextlib import nullcontext, suppress
from functools import partial

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

from functions.generate.diffusion import lora_cache
from functions.generate.diffusion.img2img import Denoising, Diffuser
from functions.generate.diffusion.inpaint_region import InpaintRegion
from functions.generate.diffusion.lora_cache import LoraCache, LoraError
from functions.generate.diffusion.prompt import PromptCache
from shared.faces import Box
from shared.models import diffusion, packed_layers, unet_model
from shared.models.packed_layers import DirectLinear, is_available
from shared.settings import ModelSettings
from tests.pictures import astronaut
from tests.trained_users import lora, make_visible_base

FACE = Box(176, 77, 266, 167)
LANDMARKS = np.random.default_rng(0).uniform((190, 90), (250, 150), (68, 2))


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_visible_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def portrait_tiny():
    return diffusion.load_model(ModelSettings(device="cpu"))


@pytest.fixture
def model(base):
    return diffusion.load_model(ModelSettings(path=str(base), device="cpu"))


@pytest.fixture(scope="module")
def files(base, tmp_path_factory):
    """LoRA files of three people, by rank and seed."""
    unet = diffusion.load_model(ModelSettings(path=str(base), device="cpu")).unet
    folder = str(tmp_path_factory.mktemp("lora"))
    return {name: lora(unet, folder, rank, seed) for name, rank, seed in (("ann", 4, 1), ("bob", 4, 2), ("cleo", 8, 3))}


@pytest.fixture
def mask():
    painted = np.zeros((512, 512), np.float32)
    painted[90:150, 190:250] = 1
    return painted


def noise_prediction(model):
    with torch.inference_mode():
        latents = torch.linspace(-1, 1, 16 * 64).reshape(1, 16, 8, 8)
        words = torch.linspace(-1, 1, 77 * 32).reshape(1, 77, 32)
        return model.unet(latents, 500, encoder_hidden_states=words).sample


def activate(adapters, files, *names):
    """The UNet wearing these people's LoRAs, a picture of the batch each."""
    return adapters.activate([name and adapters.lora(name, lambda: "etag", partial(files.get, name)) for name in names])


class TestRepainting:
    @pytest.fixture
    def repaint(self, model, mask):
        diffuser, words = Diffuser(model), PromptCache(model).of("ann")

        def run(steps=10, strength=0.5, seed=1, square=None, said=lambda: None):
            canvas = InpaintRegion(astronaut(), square or FACE.square(1.75), mask, LANDMARKS, words, seed)
            return diffuser.repaint([canvas], Denoising(steps, strength), said)[0]

        return run

    def test_nothing_outside_of_the_mask_changes(self, repaint, mask):
        image = repaint()
        assert np.array_equal(image[mask == 0], astronaut()[mask == 0])
        assert not np.array_equal(image[mask == 1], astronaut()[mask == 1])

    @pytest.mark.parametrize(("steps", "strength"), [(50, 0.0), (20, 0.04)])
    def test_no_effective_step_is_no_change(self, repaint, steps, strength):
        assert np.array_equal(repaint(steps, strength), astronaut())

    @pytest.mark.parametrize(("steps", "strength", "evaluations"), [(50, 0.45, 22), (20, 0.30, 6), (7, 1.0, 7)])
    def test_the_network_runs_steps_times_strength_times(self, repaint, steps, strength, evaluations):
        said = []
        repaint(steps, strength, said=lambda: said.append(1))
        assert len(said) == evaluations

    def test_the_same_seed_gives_the_same_bytes_and_another_does_not(self, repaint):
        assert np.array_equal(repaint(seed=3), repaint(seed=3))
        assert not np.array_equal(repaint(seed=3), repaint(seed=4))

    def test_more_strength_changes_more(self, repaint):
        def change(strength):
            return np.abs(repaint(strength=strength).astype(int) - astronaut()).mean()

        assert change(0.2) < change(0.9)

    def test_a_square_beyond_the_picture_is_no_error(self, repaint):
        assert repaint(square=Box(-300, -400, 400, 300)).shape == (512, 512, 3)

    def test_guidance_needs_the_negative_words(self, model, repaint, mask):
        model = type(model)(**vars(model) | {"working": model.working.model_copy(update={"guidance": 4.0})})
        words = PromptCache(model).of("ann")
        canvas = InpaintRegion(astronaut(), FACE.square(1.75), mask, LANDMARKS, words, seed=1)
        (guided,) = Diffuser(model).repaint([canvas], Denoising(10, 0.5))
        assert not np.array_equal(guided, repaint())

    @pytest.mark.skipif(not is_available(), reason="another processor")
    def test_no_weight_is_packed_after_the_warm_up(self, model, mask, files, monkeypatch):
        diffuser, words = Diffuser(model), PromptCache(model).of("ann")
        diffuser.warm_up(words[0])
        monkeypatch.setattr(packed_layers, "_pack", lambda *anything: pytest.fail("weights are packed in a request"))
        canvas = InpaintRegion(astronaut(), FACE.square(1.75), mask, LANDMARKS, words, seed=1)
        with activate(LoraCache(model.unet), files, "ann"):
            diffuser.repaint([canvas, canvas], Denoising(4, 0.5))

    def test_words_are_encoded_once(self, model):
        prompts = PromptCache(model)
        assert prompts.of("ann")[0] is prompts.of("ann")[0]
        assert not torch.equal(prompts.of("ann")[0].states, prompts.of("ann", "in the rain")[0].states)


class TestStepsWithoutAPass:
    """portrait-tiny, whose weights predict smoothly; random weights do not."""

    @staticmethod
    def diffuse(model, mask, span, monkeypatch, denoising):
        """The picture, the number of network passes, and that of steps."""
        model = type(model)(**vars(model) | {"working": model.working.model_copy(update={"pass_span": span})})
        passes, steps = [], []
        predict = type(model).predict
        monkeypatch.setattr(type(model), "predict", lambda *told: passes.append(1) or predict(*told))
        canvas = InpaintRegion(astronaut(), FACE.square(1.75), mask, LANDMARKS, PromptCache(model).of("ann"), seed=1)
        (made,) = Diffuser(model).repaint([canvas], denoising, lambda: steps.append(1))
        monkeypatch.undo()
        return made, len(passes), len(steps)

    @pytest.mark.parametrize(("steps", "strength", "passes"), [(50, 0.45, 5), (20, 0.30, 3)])
    def test_the_default_knobs_picture_hardly_changes(self, portrait_tiny, mask, monkeypatch, steps, strength, passes):
        model, denoising = portrait_tiny, Denoising(steps, strength)
        whole, all_passes, all_steps = self.diffuse(model, mask, None, monkeypatch, denoising)
        made, few, made_steps = self.diffuse(model, mask, model.working.pass_span, monkeypatch, denoising)
        assert (few, all_passes, made_steps, all_steps) == (passes, denoising.effective, *[denoising.effective] * 2)
        apart = np.abs(made.astype(int) - whole)
        assert apart.max() <= 2
        assert apart[mask == 1].mean() < 0.1 * np.abs(whole.astype(int) - astronaut())[mask == 1].mean()

    def test_a_coarse_schedule_takes_all_its_passes(self, portrait_tiny, mask, monkeypatch):
        span = portrait_tiny.working.pass_span
        assert self.diffuse(portrait_tiny, mask, span, monkeypatch, Denoising(5, 0.6))[1] == 3


class TestWhatTheWordsAreToEachLayer:
    @pytest.mark.parametrize("guidance", [1.0, 3.0])
    def test_it_is_worked_out_once_and_the_picture_is_the_same(self, model, files, mask, monkeypatch, guidance):
        model = type(model)(**vars(model) | {"working": model.working.model_copy(update={"guidance": guidance})})
        made, repaint = [], Diffuser(model).repaint
        words = PromptCache(model).of("ann")

        def count(kind, name):
            compute = getattr(kind, name)

            def counted(layer, states, *weight):
                made.extend([layer] if states.shape[1:] == words[0].states.shape[1:] else [])
                return compute(layer, states, *weight)

            monkeypatch.setattr(kind, name, counted)

        count(torch.nn.Linear, "forward")
        count(DirectLinear, "compute")
        face = InpaintRegion(astronaut(), FACE.square(2.2), mask, LANDMARKS, words, seed=1)
        with activate(LoraCache(model.unet), files, "ann"):
            once, evaluations = repaint([face], Denoising(10, 0.5)), len(made)
            wordings = evaluations / len(set(made))
            monkeypatch.setattr(unet_model, "cache_cross_attention", nullcontext)
            again = repaint([face], Denoising(10, 0.5))
        assert np.array_equal(once, again)
        assert wordings <= (1 if guidance == 1 else 2)
        assert len(made) - evaluations == 5 * len(set(made))


class TestFacesInOneBatch:
    """Ann wears hers, Cleo one of another rank, Bob one of Ann's shapes; the last wears none."""

    PEOPLE = ("ann", "cleo", "bob", None)

    @pytest.fixture
    def faces(self, model, mask):
        words = [PromptCache(model).of(str(name)) for name in self.PEOPLE]
        squares = [Box(150 + 9 * index, 50, 300, 200 - 7 * index) for index in range(4)]
        return [InpaintRegion(astronaut(), squares[i], mask, LANDMARKS, words[i], seed=i) for i in range(4)]

    @pytest.mark.parametrize("guidance", [1.0, 3.0])
    def test_a_face_in_company_is_the_face_alone_but_for_rounding(self, model, files, faces, guidance):
        model = type(model)(**vars(model) | {"working": model.working.model_copy(update={"guidance": guidance})})
        adapters, diffuser, denoising = LoraCache(model.unet), Diffuser(model), Denoising(10, 0.5)
        with activate(adapters, files, *self.PEOPLE):
            together = diffuser.repaint(faces, denoising)
            again = diffuser.repaint(faces, denoising)
        for name, face, made, repeated in zip(self.PEOPLE, faces, together, again, strict=True):
            with activate(adapters, files, name):
                (alone,) = diffuser.repaint([face], denoising)
            assert np.abs(made.astype(int) - alone).max() <= 1
            assert np.mean(made != alone) < 1e-3
            assert np.array_equal(made, repeated)
        bare = diffuser.repaint(faces, denoising)
        assert np.abs(bare[3].astype(int) - together[3]).max() <= 1
        assert all(np.abs(bare[i].astype(int) - together[i]).max() > 1 for i in range(3))

    def test_one_person_for_all_faces_is_one_adapter(self, model, files, faces):
        adapters = LoraCache(model.unet)
        with activate(adapters, files, "ann", "ann"):
            assert len(model.unet.peft_config) == 1
            twice = Diffuser(model).repaint([faces[0], faces[0]], Denoising(10, 0.5))
        assert np.abs(twice[0].astype(int) - twice[1]).max() <= 1

    def test_more_people_than_adapters_stay_find_room(self, model, files, faces):
        adapters = LoraCache(model.unet, resident=1)
        with activate(adapters, files, "ann", "cleo", "bob"):
            assert len(model.unet.peft_config) == 3
        expected = {}
        for name in ("bob", "ann", "cleo", "bob", "ann"):
            with activate(adapters, files, name):
                seen = noise_prediction(model)
            assert torch.equal(expected.setdefault(name, seen), seen)
        assert not torch.equal(expected["ann"], expected["bob"])


class TestWearingALora:
    def test_the_base_is_bit_identical_after_any_number_of_users(self, model, files):
        bare = noise_prediction(model)
        weights = {name: tensor.clone() for name, tensor in model.unet.state_dict().items()}
        adapters = LoraCache(model.unet)
        for name in ("ann", "cleo", "bob", "ann"):
            with activate(adapters, files, name):
                assert not torch.equal(noise_prediction(model), bare)
            assert torch.equal(noise_prediction(model), bare)
        after = {name.replace(".base_layer", ""): tensor for name, tensor in model.unet.state_dict().items()}
        assert all(torch.equal(after[name], tensor) for name, tensor in weights.items())

    @pytest.mark.parametrize("name", ["ann", "cleo"])
    def test_it_does_what_diffusers_own_loading_does(self, model, base, files, name, tmp_path):
        (tmp_path / "it.safetensors").write_bytes(files[name])
        pipeline = StableDiffusionPipeline.from_pretrained(base, safety_checker=None, requires_safety_checker=False)
        pipeline.load_lora_weights(str(tmp_path), weight_name="it.safetensors")
        pipeline.unet.eval()
        adapters = LoraCache(model.unet)
        for other in ("bob", "cleo"):
            with activate(adapters, files, other):
                pass
        with activate(adapters, files, name):
            assert torch.allclose(noise_prediction(model), noise_prediction(pipeline), atol=1e-4)

    def test_a_lora_alone_changes_what_it_changes_beside_the_weights(self, model, files, monkeypatch):
        adapters, predicted = LoraCache(model.unet), {}
        for name, merge in (("merged", lora_cache.merge_adapter), ("beside", lambda layers, name: nullcontext())):
            monkeypatch.setattr(lora_cache, "merge_adapter", merge)
            with activate(adapters, files, "ann"):
                predicted[name] = noise_prediction(model)
        assert torch.allclose(predicted["merged"], predicted["beside"], atol=1e-5)
        assert not torch.allclose(predicted["merged"], noise_prediction(model), atol=1e-3)

    def test_a_known_user_is_not_read_again(self, model, files):
        adapters, reads = LoraCache(model.unet), []

        def read():
            reads.append(1)
            return files["ann"]

        for _ in range(3):
            adapters.lora("ann", lambda: "etag", read)
        assert len(reads) == 1

    def test_the_least_recently_used_user_is_forgotten(self, model, files):
        adapters, reads = LoraCache(model.unet, users=2), []

        def read(name):
            reads.append(name)
            return files[name]

        for name in ("ann", "bob", "ann", "cleo", "ann", "bob"):
            adapters.lora(name, lambda: "etag", lambda name=name: read(name))
        assert reads == ["ann", "bob", "cleo", "bob"]

    def test_adapters_of_other_ranks_make_room(self, model, files):
        adapters = LoraCache(model.unet, resident=1)
        expected = {}
        for name in ("ann", "cleo", "ann", "cleo"):
            with activate(adapters, files, name):
                seen = noise_prediction(model)
            assert torch.equal(expected.setdefault(name, seen), seen)
            assert len(model.unet.peft_config) == 1

    def test_an_error_inside_leaves_the_base_bare(self, model, files):
        bare = noise_prediction(model)
        adapters = LoraCache(model.unet)
        with suppress(ZeroDivisionError), activate(adapters, files, "ann"):
            raise ZeroDivisionError
        assert torch.equal(noise_prediction(model), bare)

    @pytest.mark.parametrize("data", [b"", b"no safetensors at all", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      "])
    def test_a_broken_file_is_named_so(self, model, files, data):
        bare = noise_prediction(model)
        adapters = LoraCache(model.unet)
        with pytest.raises(LoraError):
            adapters.lora("ann", lambda: "etag", lambda: data)
        assert torch.equal(noise_prediction(model), bare)
        with activate(adapters, files, "ann"):
            assert not torch.equal(noise_prediction(model), bare)

    def test_a_lora_of_another_base_is_refused_and_leaves_nothing(self, model, files, tmp_path):
        other = diffusion.load_model(ModelSettings(path=str(make_visible_base(tmp_path / "base")), device="cpu")).unet
        other.down_blocks[0].attentions[0].transformer_blocks[0].attn1.to_q = torch.nn.Linear(32, 48)
        foreign = lora(other, str(tmp_path))
        bare = noise_prediction(model)
        adapters = LoraCache(model.unet)
        with pytest.raises(LoraError):
            adapters.lora("ann", lambda: "etag", lambda: foreign)
        assert torch.equal(noise_prediction(model), bare)
        with activate(adapters, files, "bob"):
            assert not torch.equal(noise_prediction(model), bare)
