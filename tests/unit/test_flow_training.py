"""What rectified flow learns and what becomes of it, beside diffusers' training scripts and loaders."""

import numpy as np
import pytest
import safetensors.torch
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, Flux2KleinPipeline, ZImagePipeline

from functions.generate.diffusion.lora_cache import LoraCache
from functions.train import kohya
from functions.train.latents import LatentCache, Latents
from functions.train.lora import add_adapter
from functions.train.loss import DiffusionLoss
from functions.train.optimizer_steps import OptimizerSteps
from functions.train.training_inputs import TrainingInputs
from shared.models.diffusion import load_model
from shared.settings import ModelSettings
from tests.flow_loras import disturb, flow_plan
from tests.tiny_flow import MAKERS

PROMPT = "photo of sks person"
PIPELINES = {"z-image": ZImagePipeline, "flux2-klein": Flux2KleinPipeline}


@pytest.fixture(scope="module", params=list(MAKERS))
def folder(request, tmp_path_factory):
    return MAKERS[request.param](tmp_path_factory.mktemp(request.param) / "base")


@pytest.fixture
def model(folder):
    return load_model(ModelSettings(path=str(folder), device="cpu"))


def pixels(count):
    return torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1


def z_images_flow(pipeline, noisy, times, words):
    """As train_dreambooth_lora_z_image.py asks the transformer for it."""
    states, _ = pipeline.encode_prompt(words, do_classifier_free_guidance=False)
    clean = (1000 - times) / 1000
    answers = pipeline.transformer([one.unsqueeze(1) for one in noisy], clean, states * len(noisy), return_dict=False)[
        0
    ]
    return -torch.stack([one.squeeze(1) for one in answers])


def kleins_flow(pipeline, noisy, times, words):
    """As train_dreambooth_lora_flux2_klein.py asks the transformer for it."""
    states, text_ids = pipeline.encode_prompt(words, num_images_per_prompt=len(noisy))
    places = pipeline._prepare_latent_ids(noisy)
    answer = pipeline.transformer(
        hidden_states=pipeline._pack_latents(noisy),
        timestep=times / 1000,
        guidance=None,
        encoder_hidden_states=states,
        txt_ids=text_ids,
        img_ids=places,
        return_dict=False,
    )[0]
    return pipeline._unpack_latents_with_ids(answer, places)


def z_images_latents(pipeline, pictures):
    latents = pipeline.vae.encode(pictures).latent_dist.mode()
    return (latents - pipeline.vae.config.shift_factor) * pipeline.vae.config.scaling_factor


def kleins_latents(pipeline, pictures):
    latents = pipeline._patchify_latents(pipeline.vae.encode(pictures).latent_dist.mode())
    mean = pipeline.vae.bn.running_mean.view(1, -1, 1, 1)
    return (latents - mean) / torch.sqrt(
        pipeline.vae.bn.running_var.view(1, -1, 1, 1) + pipeline.vae.config.batch_norm_eps
    )


SCRIPTS = {"z-image": (z_images_latents, z_images_flow), "flux2-klein": (kleins_latents, kleins_flow)}


@torch.no_grad()
def test_the_loss_of_a_step_is_that_of_diffusers_script(model, folder):
    """For the same pictures, noise and draws of the time steps, without a mask."""
    pipeline, pictures = PIPELINES[model.architecture].from_pretrained(folder), pixels(4)
    encode, flow = SCRIPTS[model.architecture]
    latents = encode(pipeline, pictures)
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(2))
    drawn = torch.rand(4, generator=torch.Generator().manual_seed(3))

    scheduler = FlowMatchEulerDiscreteScheduler.from_pretrained(folder, subfolder="scheduler")
    indices = (drawn * scheduler.config.num_train_timesteps).long()
    sigmas = scheduler.sigmas[indices][:, None, None, None]
    predicted = flow(pipeline, (1 - sigmas) * latents + sigmas * noise, scheduler.timesteps[indices], PROMPT)
    theirs = (predicted - (noise - latents)).square().mean()

    mine, deviation = model.encode(pictures)
    loss = DiffusionLoss(model, model.objective(5.0))
    masks = torch.ones(4, 1, *latents.shape[2:])
    ours = loss(mine, noise, loss.times_at(drawn), model.condition(PROMPT), masks)
    assert deviation is None
    assert torch.allclose(mine, latents, atol=1e-5)
    assert float(ours) == pytest.approx(float(theirs), rel=1e-5)


def test_times_are_drawn_over_the_whole_table_of_the_scheduler(model):
    objective = model.objective(5.0)
    times = objective.times_at((torch.arange(1000) + 0.5) / 1000)
    table = FlowMatchEulerDiscreteScheduler.from_config(model.scheduler.config)
    assert torch.equal(times, table.timesteps)
    assert torch.equal(objective.weights_at(times), torch.ones(1000))


def material(model):
    generator = torch.Generator().manual_seed(3)
    latents = Latents(torch.randn(6, *model.latent_shape, generator=generator), None)
    masks = torch.rand(6, 1, *model.latent_shape[1:], generator=generator)
    cache = LatentCache([(row, 0) for row in range(6)], latents, masks)
    return TrainingInputs(cache, model.condition(PROMPT), DiffusionLoss(model, model.objective(5.0)))


@torch.no_grad()
def prediction(model):
    latents = torch.linspace(-1, 1, int(np.prod(model.latent_shape))).reshape(1, *model.latent_shape)
    return model.predict(latents, torch.tensor(400.0), model.condition(PROMPT))


def test_a_training_changes_the_adapter_and_leaves_the_base_as_it_was(model):
    before = {name: one.clone() for name, one in model.denoiser.state_dict().items()}
    plain = prediction(model)
    plan = flow_plan(model, learning_rate=1e-2, warm_up=0)
    with add_adapter(model, plan) as adapter:
        assert torch.equal(prediction(model), plain)
        losses = [float(update.loss) for update in OptimizerSteps(adapter, material(model), plan, 4)]
        assert not torch.equal(prediction(model), plain)
        moved = [name for name, one in adapter.weights().items() if "lora_B" in name and one.abs().max() > 0]
    assert len(set(losses)) == 4
    assert len(moved) == len(adapter_modules(model))
    after = model.denoiser.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], one) for name, one in before.items())


def adapter_modules(model):
    """The modules that the script of the architecture would adapt."""
    ends = {"z-image": ("to_q", "to_k", "to_v", "to_out.0")}
    ends["flux2-klein"] = (*ends["z-image"], "to_qkv_mlp_proj")
    single = ("single_transformer_blocks.0.attn.to_out", "single_transformer_blocks.1.attn.to_out")
    return [
        name
        for name, module in model.denoiser.named_modules()
        if isinstance(module, torch.nn.Linear) and (name.endswith(ends[model.architecture]) or name in single)
    ]


@pytest.fixture
def trained(model):
    """The two files of an adapter whose alpha is not its rank, and the prediction with it."""
    plan = flow_plan(model, 4, alpha=6.0)
    facts = {"base_model": model.name, "architecture": model.architecture, "step": 4}
    with add_adapter(model, plan) as adapter:
        disturb(adapter.parameters, 1)
        weights = adapter.weights()
        return adapter.serialize(weights, facts), kohya.serialize_kohya(model, weights, plan, facts), prediction(model)


def test_a_stock_pipeline_loads_the_adapter_and_makes_the_same_picture(model, folder, trained, tmp_path):
    (tmp_path / "it.safetensors").write_bytes(trained[0])
    pipeline = PIPELINES[model.architecture].from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)

    def made(pipeline):
        asked = {"num_inference_steps": 3, "guidance_scale": 0.0 if model.architecture == "z-image" else 1.0}
        generator = torch.Generator().manual_seed(1)
        return pipeline(prompt=PROMPT, height=64, width=64, generator=generator, output_type="np", **asked).images

    plain = made(pipeline)
    pipeline.load_lora_weights(tmp_path, weight_name="it.safetensors")
    adapters = LoraCache(model.denoiser, prefix=model.lora_prefix)
    model.pipeline.set_progress_bar_config(disable=True)
    with adapters.activate([adapters.lora("ann", lambda: "etag", lambda: trained[0])]):
        assert torch.allclose(prediction(model), trained[2], atol=1e-5)
        ours = made(model.pipeline)
    theirs = made(pipeline)
    assert np.abs(ours - theirs).max() < 1e-4
    assert np.abs(theirs - plain).max() > 1e-2


# by ComfyUI's key maps: for Z-Image diffusers' modules, for FLUX.2 those of the first release, with queries, keys and
# values in one
COMFY = {
    "z-image": {
        "diffusion_model.{block}.attention.to_q": (32, 32, 4, 6.0),
        "diffusion_model.{block}.attention.to_k": (32, 32, 4, 6.0),
        "diffusion_model.{block}.attention.to_v": (32, 32, 4, 6.0),
        "diffusion_model.{block}.attention.to_out.0": (32, 32, 4, 6.0),
    },
    "flux2-klein": {
        "diffusion_model.double_blocks.0.img_attn.qkv": (96, 32, 12, 18.0),
        "diffusion_model.double_blocks.0.img_attn.proj": (32, 32, 4, 6.0),
        "diffusion_model.single_blocks.0.linear1": (288, 32, 4, 6.0),
        "diffusion_model.single_blocks.0.linear2": (32, 128, 4, 6.0),
        "diffusion_model.single_blocks.1.linear1": (288, 32, 4, 6.0),
        "diffusion_model.single_blocks.1.linear2": (32, 128, 4, 6.0),
    },
}
BLOCKS = ("layers.0", "layers.1", "noise_refiner.0", "context_refiner.0")


def test_the_other_file_has_comfyuis_names_shapes_and_alphas(model, trained):
    tensors = safetensors.torch.load(trained[1])
    expected = {}
    for pattern, (out, into, rank, alpha) in COMFY[model.architecture].items():
        for module in {pattern.format(block=block) for block in BLOCKS}:
            expected[f"{module}.lora_A.weight"] = (rank, into)
            expected[f"{module}.lora_B.weight"] = (out, rank)
            assert float(tensors[f"{module}.alpha"]) == alpha
            expected[f"{module}.alpha"] = ()
    assert {name: tuple(one.shape) for name, one in tensors.items()} == expected


def test_the_other_file_changes_weights_as_the_adapter_does(model, trained):
    """alpha / rank x B A, as ComfyUI patches a weight; a fused layer's rows are queries, keys and values."""
    mine, theirs = safetensors.torch.load(trained[0]), safetensors.torch.load(trained[1])

    def change(tensors, module, strength):
        return strength * tensors[f"{module}.lora_B.weight"] @ tensors[f"{module}.lora_A.weight"]

    def patch(module):
        return change(theirs, module, float(theirs[f"{module}.alpha"]) / len(theirs[f"{module}.lora_A.weight"]))

    def adapted(module):
        return change(mine, f"transformer.{module}", 6.0 / 4)

    if model.architecture == "z-image":
        pairs = [("layers.0.attention.to_k", "layers.0.attention.to_k")]
    else:
        block = "transformer_blocks.0.attn"
        parts = torch.cat([adapted(f"{block}.to_{one}") for one in "qkv"])
        assert torch.allclose(patch("diffusion_model.double_blocks.0.img_attn.qkv"), parts, atol=1e-6)
        pairs = [("double_blocks.0.img_attn.proj", f"{block}.to_out.0")]
        pairs += [("single_blocks.1.linear2", "single_transformer_blocks.1.attn.to_out")]
    for theirs_name, name in pairs:
        assert torch.allclose(patch(f"diffusion_model.{theirs_name}"), adapted(name), atol=1e-6)
