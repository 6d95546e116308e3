"""The command that runs the recipe; painting and training can also run at the same time, in two processes."""

import argparse
import logging
from pathlib import Path

import cv2
import torch
from skimage import data

from functions.generate.occlusion.aligned_face import SIDE
from functions.generate.occlusion.network import WEIGHTS
from shared.faces.loading import load_engine
from shared.settings import FaceSettings
from tools.occluder_recipe.export import export
from tools.occluder_recipe.faces import Faces, prepare
from tools.occluder_recipe.samples import make_sample
from tools.occluder_recipe.training import Plan, load_start, paint_shards, train
from tools.occluder_recipe.unet import OccluderUNet

SHARDS, HELD_OUT_SHARDS = 12, 1
PAINTING_SEED, HELD_OUT_SEED = 1, 2
STAGES = ("paint", "train", "export")


def main() -> None:
    """Parse the arguments and run the stages in order."""
    parser = argparse.ArgumentParser(prog="python -m tools.occluder_recipe", description=__doc__)
    parser.add_argument("portraits", type=Path, help="folder of portraits, *.jpg")
    parser.add_argument("--work", type=Path, required=True, help="folder for samples and checkpoints")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="the finished network, .onnx")
    parser.add_argument("--stage", choices=STAGES, action="append", help="run only this stage; may be repeated")
    parser.add_argument("--shards", type=int, default=SHARDS, help="files of 500 samples")
    parser.add_argument("--samples", type=int, default=Plan.samples, help="how many samples the network sees")
    parser.add_argument("--rate", type=float, default=Plan.rate, help="the highest learning rate")
    parser.add_argument("--start", type=Path, help="a finished network, .onnx, whose training is continued")
    parser.add_argument("--minutes", type=float, help="train for so long instead")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    arguments.work.mkdir(parents=True, exist_ok=True)
    shards, held_out = arguments.work / "shards", arguments.work / "held-out"
    stages = arguments.stage or STAGES
    if "paint" in stages:
        training, held = _faces(arguments.portraits, arguments.work / "faces.npz").split()
        textures = [data.coffee(), data.brick(), data.grass(), data.gravel(), data.hubble_deep_field(), data.rocket()]
        textures = [cv2.cvtColor(one, cv2.COLOR_GRAY2RGB) if one.ndim == 2 else one for one in textures]
        paint_shards(lambda rng: make_sample(rng, held, textures), held_out, HELD_OUT_SHARDS, HELD_OUT_SEED)
        paint_shards(lambda rng: make_sample(rng, training, textures), shards, arguments.shards, PAINTING_SEED)
    if "train" in stages or "export" in stages:
        plan = Plan(samples=arguments.samples, rate=arguments.rate)
        torch.manual_seed(plan.seed)
        network = OccluderUNet() if arguments.start is None else load_start(arguments.start, held_out)
        network = train(network, shards, held_out, plan, arguments.work, arguments.minutes)
        if "export" in stages:
            export(network, arguments.out, (SIDE, SIDE))


def _faces(folder: Path, prepared: Path) -> Faces:
    if not prepared.exists():
        prepare(folder, load_engine(FaceSettings(intra_threads=1))).save(prepared)
    return Faces.load(prepared)


if __name__ == "__main__":
    main()
