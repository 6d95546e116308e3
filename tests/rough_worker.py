"""A real worker around `tests.rough`: `python -m tests.rough_worker BUCKET`, until SIGTERM."""

import sys

from shared.buckets import open_bucket
from shared.contract.function import Function
from shared.runtime import eviction
from shared.runtime.isolation import IsolatedFunction
from shared.runtime.worker import Worker
from shared.settings import Settings
from tests import rough


def load(name: str, settings: Settings) -> Function:
    return IsolatedFunction(name, settings, rough.load)


if __name__ == "__main__":
    eviction.EVICT_SECONDS = 0.3
    Worker("check", open_bucket(sys.argv[1]), Settings(), load).run()
