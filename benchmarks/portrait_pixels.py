"""Measures what a portrait costs beside its networks, by the size of the template.

    OMP_NUM_THREADS=1 python -m benchmarks.portrait_pixels [--megapixels 1 4 12 24] [--templates without glasses]
                                                      [--repeats 3] [--profile N] [--return-freed-memory]

The template shows one face of half its height, enlarged, with noise as of a sensor, as a jpg: `without` is Eileen
Collins without glasses, `glasses` Grace Hopper with hers, `gray` and `cup` the same without colors and with a cup
before her chin. The person is the other of the two. Knobs are the contract's defaults, the base
model is portrait-tiny, everything is in memory, and the PNG is written. Memory that is freed is kept, as in a worker
(`shared/runtime/memory_reuse.py`), unless `--return-freed-memory` is given.

| column | processor seconds of one thread |
|---|---|
| whole | `portrait.make_portrait`, from the request to the answer |
| networks | the denoiser, the autoencoder, and the networks of the faces |
| else | the difference: decoding, fusions, color, grain, paste, PNG |

The medians of the repeats stand in the table; the first turn does not count. `--profile N` prints the N functions of
most own time for each row.
"""

import argparse
import cProfile
import pstats
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np
import onnxruntime
import torch

from functions.generate import portrait
from functions.generate.models import GenerateModels
from shared.faces.base import largest
from shared.faces.loading import load_engine
from shared.imaging.array_types import Image
from shared.models import diffusion
from shared.runtime.memory_reuse import keep_freed_memory
from shared.settings import ModelSettings, Settings
from tests import pictures
from tests.fake_workspace import FakeWorkspace
from tests.occluders import cover
from tests.trained_users import lora, make_trained_user

PROPOSED = {1: 0.6, 4: 1.2, 12: 2.5, 24: 4.0}  # seconds beside the networks, by megapixels
SHAPE = 3 / 2  # height by width of the template
SHARE = 0.5  # of the template's height that the face's box takes
NOISE = 2.0  # levels, of a sensor
# by their names: whom the template shows, and who takes the face
TEMPLATES = dict.fromkeys(("glasses", "gray", "cup"), ("glasses", "without")) | {"without": ("without", "glasses")}
MARK = 16  # pixels in a corner of the template that change from turn to turn
QUALITY = 92  # of the template's jpg
NETWORKS = ("predict", "encode", "decode")  # methods of the base model that run a network


class NetworkTime:
    """Processor seconds that networks have taken."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def count(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the same function, whose time is added up."""

        def timed(*arguments: Any, **named: Any) -> Any:
            started = time.process_time()
            made = function(*arguments, **named)
            self.seconds += time.process_time() - started
            return made

        return timed

    @contextmanager
    def watch(self, models: GenerateModels) -> Iterator[None]:
        """Count the networks that run inside of this context."""
        base, run = type(models.diffuser._model), onnxruntime.InferenceSession.run
        with ExitStack() as patches:
            patches.enter_context(patch.object(onnxruntime.InferenceSession, "run", self.count(run)))
            for name in NETWORKS:
                patches.enter_context(patch.object(base, name, self.count(getattr(base, name))))
            yield


def main() -> int:
    """Measure and print the table; return 1 if a row takes longer than proposed."""
    arguments = _arguments()
    if not arguments.return_freed_memory:
        keep_freed_memory()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    settings = Settings(model=ModelSettings(device="cpu", threads=1))
    models = GenerateModels(settings, load_engine(settings.faces), diffusion.load_model(settings.model))
    shown = {"without": pictures.astronaut()[:320, 60:380], "glasses": pictures.hopper()}
    people = _make_people(models, shown)
    print(f"{'MP':>4} {'template':<9}{'whole s':>9}{'networks':>10}{'else':>8}{'proposed':>10}{'PNG MB':>8}")
    missed = 0
    for megapixels in arguments.megapixels:
        for name in arguments.templates:
            whom, who = TEMPLATES[name]
            template, workspace = _vary(enlarge(shown[whom], megapixels, models), name, models), FakeWorkspace(people)
            whole, networks = _measure(models, workspace, template, who, arguments.repeats)
            proposed = PROPOSED.get(megapixels)
            missed += proposed is not None and whole - networks > proposed
            size = max(len(data) for key, data in workspace.objects.items() if key.endswith("portrait.png"))
            print(
                f"{megapixels:>4} {name:<9}{whole:>9.2f}{networks:>10.2f}{whole - networks:>8.2f}{proposed or '':>10}"
                f"{size / 1e6:>8.1f}",
                flush=True,
            )
            if arguments.profile:
                profiler = cProfile.Profile(time.process_time)
                _put(workspace, template, arguments.repeats + 1)
                profiler.runcall(_make, models, workspace, who)
                pstats.Stats(profiler).sort_stats("tottime").print_stats(arguments.profile)
    return 1 if missed else 0


def enlarge(picture: Image, megapixels: float, models: GenerateModels) -> Image:
    """Return a template of that many megapixels whose face has SHARE of its height, mirrored beyond the picture."""
    face = largest(models.engine.detect(picture))
    height = (SHAPE * megapixels * 1e6) ** 0.5
    width = height / SHAPE
    scale = SHARE * height / (face.box.bottom - face.box.top)
    x, y = face.box.center
    matrix = np.array([[scale, 0, width / 2 - scale * x], [0, scale, height / 2 - scale * y]])
    size = round(width), round(height)
    large = cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    noise = np.random.default_rng(1).standard_normal(large.shape, dtype=np.float32)
    noisy: Image = np.clip(large + NOISE * noise, 0, 255).astype(np.uint8)
    return noisy


def _vary(template: Image, name: str, models: GenerateModels) -> Image:
    if name == "gray":
        gray: Image = cv2.cvtColor(cv2.cvtColor(template, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        return gray
    if name == "cup":
        return cover("cup", template, largest(models.engine.detect(template)).landmarks)[0]
    return template


def _make_people(models: GenerateModels, shown: dict[str, Image]) -> dict[str, bytes]:
    people: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory() as folder:
        file = lora(diffusion.load_model(models.settings.model).denoiser, folder, 16, 0, scale=0.02)
    for name, photo in shown.items():
        people |= make_trained_user(name, [photo], models.engine, file, models.base_model)
    return people


def _measure(
    models: GenerateModels, workspace: FakeWorkspace, template: Image, who: str, repeats: int
) -> tuple[float, float]:
    """Return the medians of the whole seconds and of the networks' seconds."""
    turns = []
    for turn in range(repeats + 1):
        _put(workspace, template, turn)
        counted = NetworkTime()
        with counted.watch(models):
            started = time.process_time()
            _make(models, workspace, who)
            turns.append((time.process_time() - started, counted.seconds))
    whole, networks = zip(*turns[1:], strict=True)
    return statistics.median(whole), statistics.median(networks)


def _put(workspace: FakeWorkspace, template: Image, turn: int) -> None:
    """Put the template in, a little different each time, so that nothing is known of it."""
    template[:MARK, :MARK] = 10 * turn
    workspace.objects["template.jpg"] = pictures.jpeg(template, QUALITY)


def _make(models: GenerateModels, workspace: FakeWorkspace, who: str) -> None:
    configure = {"user_id": who, "seed": 1, "image_format": "png"}
    body = {"request_id": "r1", "template_image": "template.jpg", "configure": configure}
    portrait.make_portrait(body, workspace, models)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Cost of a portrait beside its networks, by size")
    parser.add_argument("--megapixels", type=int, nargs="+", default=sorted(PROPOSED))
    parser.add_argument("--templates", nargs="+", choices=sorted(TEMPLATES), default=["without", "glasses"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--profile", type=int, default=0)
    parser.add_argument("--return-freed-memory", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
