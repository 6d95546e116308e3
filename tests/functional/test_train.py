"""The train function from photos to answer, on a base model with random weights."""

import gc
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import safetensors.torch
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline

from functions.train import checkpoint, handler, training, validation
from functions.train.handler import TrainFunction
from functions.train.plan import TrainingPlan
from functions.train.training import Trainer
from shared.contract import keys
from shared.contract.users import UserModel
from shared.errors import InvalidField, TooFewPhotos, TrainingDiverged
from shared.faces.base import Box, Face
from shared.lifecycle.shutdown import HandedBack
from shared.models.diffusion import load_model
from shared.settings import Limits, ModelSettings, Settings
from tests.fake_workspace import FakeWorkspace
from tests.pictures import coffee, hopper, jpeg, variations
from tests.tiny_base import make_tiny_base

ROOT = Path(__file__).parents[2]
SIZE = 64
PICTURES = 4  # of one validation: two over photos, two from noise
STEPS, SPACING = 8, 4  # with one checkpoint on the way
INTERRUPTED = 6


class Recognizing:
    """dlib for photos; in pictures of working size it reports the person at the given distances.

    Args:
        distances: distance of the pictures in each validation, one after the other; None means that no face is found.
    """

    name, same_person = "recognizing", 0.6

    def __init__(self, engine, distances):
        self._engine, self._distances = engine, distances
        self._seen, self._person = 0, None

    def detect(self, image):
        if image.shape[0] != SIZE:
            return self._engine.detect(image)
        self._seen += 1
        if self._distance() is None:
            return []
        return [Face(Box(10, 10, 50, 50), np.zeros((68, 2)), 1.0)]

    def embed(self, image, face):
        if image.shape[0] != SIZE:
            self._person = self._engine.embed(image, face)
            return self._person
        return self._person + self._distance() / np.sqrt(len(self._person))

    def distance(self, a, b):
        return self._engine.distance(a, b)

    def _distance(self):
        return self._distances[(self._seen - 1) // PICTURES]


class InterruptingWorkspace(FakeWorkspace):
    """Stops the training in a stage and step, by default between the first and the last checkpoint."""

    def __init__(self, objects, stage="training", step=INTERRUPTED, attempt=1):
        super().__init__(objects, attempt=attempt)
        self._at = stage, step

    def progress(self, stage, step, steps, eta_seconds=None, **figures):
        super().progress(stage, step, steps, eta_seconds, **figures)
        if (stage, step) == self._at:
            raise HandedBack


@pytest.fixture(autouse=True)
def rough_validation(monkeypatch):
    """Reduce the validation steps: more denoising does not improve the pictures of random weights."""
    monkeypatch.setattr(validation, "STEPS", 3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_tiny_base(tmp_path_factory.mktemp("base") / "tiny", SIZE)


@pytest.fixture(scope="module")
def model(folder):
    return load_model(ModelSettings(path=str(folder), device="cpu"))


@pytest.fixture(scope="module")
def photos():
    small = (cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for image in variations(hopper(), 7))
    return {f"{index}.jpg": jpeg(image) for index, image in enumerate(small)}


def body(photos, steps=STEPS, spacing=SPACING, **more):
    knobs = {"user_id": "grace", "max_train_steps": steps, "val_save_checkpointing_steps": spacing}
    return {"request_id": 7, "images": list(photos), "configure": knobs | more}


def train(model, engine, photos, workspace=None, plan=None, **knobs):
    workspace = workspace or FakeWorkspace(photos)
    function = TrainFunction(Trainer(model, engine, Limits(), plan))
    return function.answer(body(photos, **knobs), workspace), workspace


def test_the_most_similar_checkpoint_becomes_the_users_lora(model, engine, photos):
    recognizing = Recognizing(engine, [0.7, 0.5, 0.2, 0.4])
    answer, workspace = train(model, recognizing, photos, steps=18, spacing=6, plan=TrainingPlan(learning_rate=2e-2))
    data = answer.data
    assert answer.message == "success"
    assert (data["best_step"], data["steps"], data["user_id"]) == (12, 18, "grace")
    assert [one["step"] for one in data["checkpoints"]] == [0, 6, 12, 18]
    assert data["similarity"] > data["similarity_before"]
    assert data["base_model"] == "tiny"
    assert data["cost_time"] > 0
    assert set(data["seconds"]) == {"photos", "latents", "training", "validation", "checkpoints", "saving"}
    before = data["seconds_to_first_step"]
    assert set(before) == {"photos", "latents", "training"}
    assert all(0 <= before[stage] <= data["seconds"][stage] + 0.001 for stage in before)
    assert data["warnings"] == []
    assert workspace.objects[data["lora"]]
    shown = [
        cv2.imdecode(np.frombuffer(workspace.objects[one["pictures"]], np.uint8), 1) for one in data["checkpoints"]
    ]
    assert [one.shape for one in shown] == [(PICTURES * SIZE, SIZE, 3)] * 4
    assert cv2.imdecode(np.frombuffer(workspace.objects[data["validation"]], np.uint8), 1).shape[1] == 4 * SIZE
    json.dumps(data, allow_nan=False)


def test_a_stock_pipeline_loads_the_lora(model, engine, photos, folder, tmp_path):
    answer, workspace = train(model, engine, photos, steps=10)
    (tmp_path / "lora.safetensors").write_bytes(workspace.objects[answer.data["lora"]])
    pipeline = StableDiffusionPipeline.from_pretrained(
        folder, safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )
    plain = {name: value.clone() for name, value in pipeline.unet.state_dict().items()}
    pipeline.load_lora_weights(tmp_path, weight_name="lora.safetensors")
    pipeline.fuse_lora()
    pipeline.unload_lora_weights()
    changed = [name for name, value in pipeline.unet.state_dict().items() if not torch.equal(value, plain[name])]
    assert changed
    assert all("attentions" in name for name in changed)


def test_every_photo_leaves_a_reference_face(model, engine, photos):
    answer, workspace = train(model, engine, photos, steps=2)
    user = TrainFunction(Trainer(model, engine, Limits())).pointers(answer.data)["users/grace/model.json"]
    references = UserModel.model_validate(user).references
    assert len(references) == answer.data["images_used"] == 7
    for reference in references:
        image = cv2.cvtColor(
            cv2.imdecode(np.frombuffer(workspace.objects[reference.key], np.uint8), 1), cv2.COLOR_BGR2RGB
        )
        vector = engine.embed(image, Face(Box(*reference.box), np.array(reference.landmarks), 1.0))
        assert engine.distance(vector, np.array(reference.embedding)) < 0.1


def test_without_a_face_in_any_validation_picture_there_still_is_a_lora(model, engine, photos):
    answer, workspace = train(model, Recognizing(engine, [None] * 3), photos)
    assert answer.data["best_step"] == STEPS
    assert answer.data["similarity"] is None
    assert "no face was found in any validation picture" in answer.data["warnings"][0]
    assert workspace.objects[answer.data["lora"]]


def test_an_adapter_that_learns_nothing_is_reported(model, engine, photos):
    answer, _ = train(model, engine, photos, steps=4, plan=TrainingPlan(learning_rate=1e-9))
    assert any("train for more steps" in warning for warning in answer.data["warnings"])


def test_an_interrupted_training_leaves_the_base_model_as_it_was(model, engine, photos):
    before = {name: value.clone() for name, value in model.unet.state_dict().items()}
    workspace = InterruptingWorkspace(photos)
    with pytest.raises(HandedBack):
        train(model, engine, photos, workspace=workspace)
    after = model.unet.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)
    saved = {name.split("/", 4)[-1] for name in workspace.objects.keys() - photos.keys()}
    assert saved == {checkpoint.NAME, keys.validation_pictures(0), keys.validation_pictures(SPACING)}


def test_a_resumed_training_ends_with_the_adapter_of_an_uninterrupted_one(model, engine, photos):
    workspace = InterruptingWorkspace(photos)
    with pytest.raises(HandedBack):
        train(model, engine, photos, workspace=workspace)
    resumed, after = train(model, engine, photos, workspace=FakeWorkspace(workspace.objects, attempt=2))
    whole, workspace = train(model, engine, photos)
    assert (resumed.data["resumed_at"], whole.data["resumed_at"]) == (SPACING, 0)
    trained_steps = [step for stage, step, *_ in after.said if stage == "training"]
    assert trained_steps == list(range(SPACING + 1, STEPS + 1))
    for key in ("lora", "lora_kohya", "validation", "report"):
        assert after.objects[resumed.data[key]] == workspace.objects[whole.data[key]], key
    assert _show_checkpoints(resumed, after) == _show_checkpoints(whole, workspace)


def _show_checkpoints(answer, workspace):
    """Return the checkpoints with the pictures themselves."""
    return [one | {"pictures": workspace.objects[one["pictures"]]} for one in answer.data["checkpoints"]]


def test_a_checkpoint_that_cannot_be_read_is_none(model, engine, photos):
    workspace = InterruptingWorkspace(photos)
    with pytest.raises(HandedBack):
        train(model, engine, photos, workspace=workspace)
    (data,) = [data for name, data in workspace.objects.items() if name.endswith(checkpoint.NAME)]
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    mark = json.loads(header["__metadata__"][checkpoint.HEADER])["mark"]
    assert checkpoint.read_checkpoint(data, mark)
    for damaged in (b"", data[:-1000], data[:500], data[:8] + b"[" * 100_000, bytes(100), data[8:]):
        assert checkpoint.read_checkpoint(damaged, mark) is None


def test_a_training_leaves_nothing_of_the_person_in_memory(model, engine, photos):
    def living():
        gc.collect()
        return sum(type(one) in (torch.Tensor, torch.nn.Parameter) for one in gc.get_objects())

    train(model, engine, photos, steps=2)
    before = living()
    train(model, engine, photos, steps=2)
    assert living() == before


def test_only_the_same_photos_and_settings_are_resumed(model, engine, photos):
    workspace = InterruptingWorkspace(photos)
    with pytest.raises(HandedBack):
        train(model, engine, photos, workspace=workspace)
    another = {"0.jpg": jpeg(cv2.resize(hopper(), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))}
    answer, _ = train(model, engine, photos, workspace=FakeWorkspace(workspace.objects | another, attempt=2))
    assert answer.data["resumed_at"] == 0
    answer, _ = train(model, engine, photos, workspace=FakeWorkspace(workspace.objects, attempt=2), steps=STEPS + 1)
    assert answer.data["resumed_at"] == 0


def test_the_same_photos_and_seed_give_the_same_adapter(model, engine, photos):
    """This also holds after another training in the same process."""
    files = []
    for _ in range(2):
        answer, workspace = train(model, engine, photos, steps=12)
        files.append(workspace.objects[answer.data["lora"]])
    assert files[0] == files[1]


OVERFITTING = TrainingPlan(learning_rate=0.2, patience=1)  # the held-out loss rises after the first checkpoint
LIKENESS = [0.7, 0.3] + [0.5] * 9  # distances: the base model, a good checkpoint, and worse ones


def test_a_training_ends_when_it_no_longer_helps_and_says_at_which_step_and_why(model, engine, photos):
    answer, workspace = train(model, Recognizing(engine, LIKENESS), photos, steps=24, plan=OVERFITTING)
    data = answer.data
    assert (data["steps"], data["best_step"]) == (24, SPACING)
    assert (data["stopped"]["step"], data["stopped"]["reason"]) == (2 * SPACING, "overfitting")
    assert "has not risen" in data["stopped"]["message"]
    assert "error" not in data["stopped"]
    assert [one["step"] for one in data["checkpoints"]] == [0, SPACING, 2 * SPACING]
    assert max(step for stage, step, *_ in workspace.said if stage == "training") == 2 * SPACING
    assert workspace.objects[data["lora"]]
    sample = json.loads((ROOT / "events/train-answer.json").read_text())["data"]
    assert sample.keys() - {"committed", "usage"} == data.keys(), "what the worker adds"
    assert sample["stopped"].keys() == data["stopped"].keys()
    assert {*sample["checkpoints"][0]} == {*data["checkpoints"][0]}


def test_with_a_patience_of_zero_every_step_is_made_and_the_same_checkpoint_is_kept(model, engine, photos):
    patient = OVERFITTING.model_copy(update={"patience": 0})
    answer, _ = train(model, Recognizing(engine, LIKENESS), photos, steps=12, plan=patient)
    assert answer.data["stopped"] is None
    assert [one["step"] for one in answer.data["checkpoints"]] == [0, 4, 8, 12]
    assert answer.data["best_step"] == SPACING


def test_a_resumed_training_ends_at_the_step_of_an_uninterrupted_one(model, engine, photos):
    """Whether it was killed before the checkpoint that ended it, at it, or after it."""
    whole, workspace = train(model, Recognizing(engine, LIKENESS), photos, steps=24, plan=OVERFITTING)
    for stage, step, seen in (("training", INTERRUPTED, 2), ("training", 2 * SPACING, 2), ("saving", 0, 3)):
        killed = InterruptingWorkspace(photos, stage, step)
        with pytest.raises(HandedBack):
            train(model, Recognizing(engine, LIKENESS), photos, workspace=killed, steps=24, plan=OVERFITTING)
        left, again = Recognizing(engine, LIKENESS[seen:]), FakeWorkspace(killed.objects, attempt=2)
        resumed, after = train(model, left, photos, workspace=again, steps=24, plan=OVERFITTING)
        assert resumed.data["resumed_at"] == (2 * SPACING if stage == "saving" else SPACING)
        for key in ("lora", "lora_kohya", "validation", "report"):
            assert after.objects[resumed.data[key]] == workspace.objects[whole.data[key]], key
        assert _show_checkpoints(resumed, after) == _show_checkpoints(whole, workspace)
        for key in ("stopped", "best_step", "warnings"):
            assert resumed.data[key] == whole.data[key], key


class DivergingWorkspace(InterruptingWorkspace):
    """Multiplies the adapter's weights by a factor after one update, as a learning rate that is too high would."""

    def __init__(self, objects, unet, step, factor, ends_in="never", attempt=1):
        super().__init__(objects, ends_in, 0, attempt)
        self._unet, self._step, self._factor = unet, step, factor

    def progress(self, stage, step, steps, eta_seconds=None, **figures):
        super().progress(stage, step, steps, eta_seconds, **figures)
        if stage == "training" and step == self._step:
            with torch.no_grad():
                for weight in self._unet.parameters():
                    if weight.requires_grad:
                        weight.mul_(self._factor)


@pytest.mark.parametrize("factor", [float("nan"), float("inf"), 1e4])
def test_a_training_that_diverges_keeps_the_best_checkpoint_before_that(model, engine, photos, factor):
    workspace = DivergingWorkspace(photos, model.unet, SPACING + 1, factor)
    answer, _ = train(
        model, Recognizing(engine, [0.7, 0.5] + [0.1] * 9), photos, workspace=workspace, steps=3 * SPACING
    )
    stopped = answer.data["stopped"]
    assert SPACING < stopped["step"] <= 2 * SPACING
    assert stopped["reason"] == "diverged"
    assert stopped["error"] == {"type": "TrainingDiverged", "retryable": False}
    assert [one["step"] for one in answer.data["checkpoints"]] == [0, SPACING]
    assert answer.data["best_step"] == SPACING
    assert f"diverged at step {stopped['step']}" in answer.data["warnings"][0]
    tensors = safetensors.torch.load(workspace.objects[answer.data["lora"]])
    assert all(bool(tensor.isfinite().all()) for tensor in tensors.values())
    json.dumps(answer.data, allow_nan=False)


def test_a_training_that_diverged_and_was_killed_diverges_again_and_keeps_the_same(model, engine, photos):
    answers, loras = [], []
    killed = DivergingWorkspace(photos, model.unet, SPACING + 1, float("nan"), ends_in="saving")
    with pytest.raises(HandedBack):
        train(model, Recognizing(engine, LIKENESS), photos, workspace=killed, steps=3 * SPACING)
    for objects, attempt, seen in ((killed.objects, 2, 2), (photos, 1, 0)):
        workspace = DivergingWorkspace(objects, model.unet, SPACING + 1, float("nan"), attempt=attempt)
        recognizing = Recognizing(engine, LIKENESS[seen:])
        answers.append(train(model, recognizing, photos, workspace=workspace, steps=3 * SPACING)[0].data)
        loras.append(workspace.objects[answers[-1]["lora"]])
    assert [data["resumed_at"] for data in answers] == [SPACING, 0]
    assert answers[0]["stopped"] == answers[1]["stopped"]
    assert loras[0] == loras[1]


def test_a_training_that_diverges_before_its_first_checkpoint_is_a_typed_error(model, engine, photos):
    workspace = DivergingWorkspace(photos, model.unet, 1, float("nan"))
    with pytest.raises(TrainingDiverged, match=r"before its first checkpoint.*LEARNING_RATE") as raised:
        train(model, engine, photos, workspace=workspace)
    assert not raised.value.retryable
    assert workspace.objects.keys() == photos.keys(), "nothing of it is kept"
    train(model, engine, photos, steps=1)


def test_a_learning_rate_that_is_far_too_high_is_noticed(model, engine, photos):
    with pytest.raises(TrainingDiverged):
        train(model, engine, photos, steps=60, spacing=60, plan=TrainingPlan(learning_rate=50.0))


def test_progress_names_stage_step_and_loss(model, engine, photos):
    _, workspace = train(model, engine, photos)
    stages = list(dict.fromkeys(stage for stage, *_ in workspace.said))
    assert stages == ["photos", "latents", "training", "saving"]
    steps = [(step, figures) for stage, step, _, figures in workspace.said if stage == "training"]
    assert [step for step, _ in steps] == list(range(1, STEPS + 1))
    assert steps[-1][1]["loss"] > 0
    validated = [figures.get("validated") for _, figures in steps]
    assert validated == [(step - 1) // SPACING * SPACING or None for step in range(1, STEPS + 1)]


def test_checkpoints_beyond_reason_are_thinned_out_with_a_warning(model, engine, photos, monkeypatch):
    monkeypatch.setattr(training, "MOST_CHECKPOINTS", 3)
    answer, _ = train(model, Recognizing(engine, [None] * 9), photos, steps=8, spacing=1)
    assert [one["step"] for one in answer.data["checkpoints"]] == [0, 3, 6, 8]
    assert answer.data["warnings"][0].startswith("checkpoints every 3 steps instead of 1")


def test_too_few_usable_photos_is_an_error_before_any_training(model, engine, photos):
    few = dict(list(photos.items())[:4]) | {"cup.jpg": jpeg(coffee()[:200, :200])}
    workspace = FakeWorkspace(few)
    with pytest.raises(TooFewPhotos, match=r"cup\.jpg"):
        train(model, engine, few, workspace=workspace)
    assert "training" not in {stage for stage, *_ in workspace.said}


def test_a_wrong_knob_is_an_error_before_anything_is_fetched(model, engine, photos):
    workspace = FakeWorkspace(photos)
    with pytest.raises(InvalidField, match="max_train_steps"):
        train(model, engine, photos, workspace=workspace, steps=-1)
    assert workspace.said == []


def test_an_unknown_knob_is_a_warning_of_the_answer(model, engine, photos):
    answer, _ = train(model, Recognizing(engine, [None] * 3), photos, steps=2, train_text_encoder=True)
    assert answer.data["warnings"][0] == "unknown key configure.train_text_encoder was ignored"


def test_on_the_embedded_base_model_the_answer_says_that_a_training_adds_little(model, engine, photos):
    embedded = replace(model, name="portrait-tiny")
    answer, _ = train(embedded, Recognizing(engine, [0.7, 0.3]), photos, steps=2)
    assert sum("a LoRA of portrait-tiny adds" in warning for warning in answer.data["warnings"]) == 1


def test_a_base_of_stable_diffusions_kind_trains_too(model, engine, photos):
    """It predicts epsilon instead of v, has an autoencoder that returns distributions, and uses guidance."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(8, 8, 8, 8),
            latent_channels=16,
            norm_num_groups=4,
        )
    scheduler = DDIMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, clip_sample=False, steps_offset=1
    )
    working = model.working.model_copy(update={"guidance": 5.0})
    like = replace(model, vae=vae.eval().requires_grad_(False), scheduler=scheduler, working=working)
    answer, workspace = train(like, engine, photos)
    assert [one["step"] for one in answer.data["checkpoints"]] == [0, SPACING, STEPS]
    assert workspace.objects[answer.data["lora"]]


def test_the_function_loads_from_settings_once(folder):
    settings = Settings(model=ModelSettings(path=str(folder), device="cpu"))
    function = handler.load(settings)
    assert function.name == "train"
