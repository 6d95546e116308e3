"""One command for the whole recipe; `--stage` runs a part of it."""

import argparse
import logging
from pathlib import Path

import torch

from shared.faces.dlib import DlibEngine
from shared.models.portrait_tiny.recipe import autoencoder
from shared.models.portrait_tiny.recipe.portraits import Portraits, prepare


def main() -> None:
    """Parse the arguments and run the stages in order."""
    parser = argparse.ArgumentParser(prog="python -m shared.models.portrait_tiny.recipe", description=__doc__)
    parser.add_argument("portraits", type=Path, help="folder of portraits, *.jpg")
    parser.add_argument("--work", type=Path, required=True, help="folder for data and checkpoints")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--autoencoder-pictures", type=int, default=autoencoder.AutoencoderPlan.pictures)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(arguments.threads)
    arguments.work.mkdir(parents=True, exist_ok=True)
    data = arguments.work / "portraits.npz"
    if not data.exists():
        prepare(arguments.portraits, DlibEngine()).save(data)
    portraits = Portraits.load(data)
    plan = autoencoder.AutoencoderPlan(pictures=arguments.autoencoder_pictures)
    autoencoder.train(portraits, plan, arguments.work)


if __name__ == "__main__":
    main()
