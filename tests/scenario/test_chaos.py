"""A few seeds of chaos on each kind of store; hundreds by `make chaos`."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests import zygotes

ROOT = Path(__file__).parents[2]
SEEDS = {"folder": "4,5", "s3": "2", "cloud": "3"}
MODULES = ("tests.scenario.chaos.campaign",)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.mark.parametrize("kind", SEEDS)
def test_whatever_breaks_every_request_has_one_right_answer_and_nothing_else_is_left(kind, tmp_path):
    # a process of its own: its mounts go with it
    command = [sys.executable, "-m", "tests.scenario.chaos", "--kind", kind, "--seeds", SEEDS[kind], "--jobs", "1"]
    campaign = zygotes.start(
        [*command, "--keep", tmp_path], MODULES, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    said, _ = campaign.communicate()
    assert campaign.returncode == 0, said
