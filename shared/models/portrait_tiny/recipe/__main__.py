"""The command that runs the recipe; its stages can also run one by one, and two of them at once in two processes."""

import argparse
import logging
from pathlib import Path

import torch

from shared.faces.dlib import DlibEngine
from shared.models.portrait_tiny.recipe import autoencoder, denoiser, evaluation, pipeline
from shared.models.portrait_tiny.recipe.autoencoder import Components, DecoderPlan
from shared.models.portrait_tiny.recipe.denoiser import DenoiserPlan
from shared.models.portrait_tiny.recipe.portraits import Portraits, crop_center, prepare, tensor

STAGES = ("decoder", "denoiser", "export", "evaluate")


def main() -> None:
    """Parse the arguments and run the stages in order."""
    parser = argparse.ArgumentParser(prog="python -m shared.models.portrait_tiny.recipe", description=__doc__)
    parser.add_argument("portraits", type=Path, help="folder of portraits, *.jpg")
    parser.add_argument("--work", type=Path, required=True, help="folder for data and checkpoints")
    parser.add_argument("--out", type=Path, default=pipeline.WEIGHTS, help="folder for the finished pipeline")
    parser.add_argument("--stage", choices=STAGES, action="append", help="run only this stage; may be repeated")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--decoder-pictures", type=int, default=DecoderPlan.pictures)
    parser.add_argument("--denoiser-pictures", type=int, default=DenoiserPlan.pictures)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(arguments.threads)
    arguments.work.mkdir(parents=True, exist_ok=True)
    portraits = _portraits(arguments.portraits, arguments.work / "portraits.npz")
    stages = arguments.stage or STAGES
    if "decoder" in stages:
        autoencoder.train(portraits, DecoderPlan(pictures=arguments.decoder_pictures), arguments.work)
    if "denoiser" in stages:
        training = tensor([crop_center(image) for image in portraits.canvases[: portraits.training : 3]])
        encoder = autoencoder.build_untrained(Components.of(training))
        denoiser.train(encoder, portraits, DenoiserPlan(pictures=arguments.denoiser_pictures), arguments.work)
    if "export" in stages:
        pipeline.export(portraits, arguments.work, arguments.out)
    if "evaluate" in stages:
        logging.info("%s", evaluation.evaluate(arguments.out, portraits, DlibEngine(), arguments.work))


def _portraits(folder: Path, prepared: Path) -> Portraits:
    if not prepared.exists():
        prepare(folder, DlibEngine()).save(prepared)
    return Portraits.load(prepared)


if __name__ == "__main__":
    main()
