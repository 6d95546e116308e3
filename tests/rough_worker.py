"""A real worker around `tests.rough`: `python -m tests.rough_worker BUCKET`, until SIGTERM."""

import sys

from shared.buckets import open_bucket
from shared.contract.function import Function
from shared.runtime import worker
from shared.runtime.isolation import Isolated
from shared.settings import Settings
from tests import rough


def load(name: str, settings: Settings) -> Function:
    return Isolated(name, settings, rough.load)


if __name__ == "__main__":
    worker.EVICT_SECONDS = 0.3
    worker.Worker("check", open_bucket(sys.argv[1]), Settings(), load).run()
