"""The command that runs the recipe; painting and training can also run at the same time, in two processes."""

import argparse
import logging
from pathlib import Path

import cv2
import torch

from functions.generate.glasses.aligned_face import SIZE
from functions.generate.glasses.network import WEIGHTS
from shared.faces.loading import load_engine
from shared.settings import FaceSettings
from tools.glasses_recipe.samples import make_sample, prepare
from tools.occluder_recipe.export import export
from tools.occluder_recipe.faces import Faces
from tools.occluder_recipe.training import Plan, paint_shards, train
from tools.occluder_recipe.unet import OccluderUNet

WIDTHS = (16, 32, 64, 96)  # channels of the network from half of the canvas's size down to a sixteenth of it
SHARDS, HELD_OUT_SHARDS = 12, 1
PAINTING_SEED, HELD_OUT_SEED = 1, 2
STAGES = ("paint", "train", "export")


def main() -> None:
    """Parse the arguments and run the stages in order."""
    parser = argparse.ArgumentParser(prog="python -m tools.glasses_recipe", description=__doc__)
    parser.add_argument("portraits", type=Path, help="folder of portraits, *.jpg")
    parser.add_argument("labels", type=Path, help="which of them show glasses: benchmarks/glasses.csv")
    parser.add_argument("--work", type=Path, required=True, help="folder for samples and checkpoints")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="the finished network, .onnx")
    parser.add_argument("--stage", choices=STAGES, action="append", help="run only this stage; may be repeated")
    parser.add_argument("--shards", type=int, default=SHARDS, help="files of 500 samples")
    parser.add_argument("--samples", type=int, default=Plan.samples, help="how many samples the network sees")
    parser.add_argument("--minutes", type=float, help="train for so long instead")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    arguments.work.mkdir(parents=True, exist_ok=True)
    shards, held_out = arguments.work / "shards", arguments.work / "held-out"
    stages = arguments.stage or STAGES
    if "paint" in stages:
        training, held = _faces(arguments.portraits, arguments.labels, arguments.work)
        paint_shards(lambda rng: make_sample(rng, held), held_out, HELD_OUT_SHARDS, HELD_OUT_SEED)
        paint_shards(lambda rng: make_sample(rng, training), shards, arguments.shards, PAINTING_SEED)
    if "train" in stages or "export" in stages:
        plan = Plan(samples=arguments.samples)
        torch.manual_seed(plan.seed)
        network = train(OccluderUNet(WIDTHS), shards, held_out, plan, arguments.work, arguments.minutes)
        if "export" in stages:
            export(network, arguments.out, SIZE)


def _faces(folder: Path, labels: Path, work: Path) -> tuple[Faces, Faces]:
    """Return the faces to train on and those that are held out; they are prepared once."""
    prepared = work / "train.npz", work / "held.npz"
    if not all(path.exists() for path in prepared):
        for faces, path in zip(
            prepare(folder, labels, load_engine(FaceSettings(intra_threads=1))), prepared, strict=True
        ):
            faces.save(path)
    training, held = (Faces.load(path) for path in prepared)
    return training, held


if __name__ == "__main__":
    main()
