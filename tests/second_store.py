"""S3 and SQS by another hand than moto's: LocalStack, which nobody has to install.

It asks for a Python of its own and brings many packages, so it lives in an environment of its own:

    python3.13 -m venv ~/localstack
    ~/localstack/bin/pip install 'localstack-core[runtime]' 'cryptography<47' 'pyopenssl<26' 'cbor2<6' service-identity
    PHOTOG_TEST_LOCALSTACK=~/localstack/bin/python make test
"""

import json
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cloud import CREDENTIALS, Cloud

PYTHON = "PHOTOG_TEST_LOCALSTACK"
START_SECONDS = 120.0
ALONE = {  # it serves what is asked for, on the loopback, and speaks to nobody
    "SERVICES": "s3,sqs",
    "STRICT_SERVICE_LOADING": "1",
    "DISABLE_EVENTS": "1",
    "SKIP_SSL_CERT_DOWNLOAD": "1",
    "DNS_ADDRESS": "0",
    "ACTIVATE_PRO": "0",
}


@contextmanager
def start_localstack(folder: Path) -> Iterator[Cloud]:
    """LocalStack on a free port, its files below a folder; skips the test where it is not installed."""
    python = os.environ.get(PYTHON)
    if python is None:
        pytest.skip(f"LocalStack is not installed: see tests/second_store.py, and set {PYTHON}")
    os.environ.update(CREDENTIALS)
    port, log = _free_port(), folder / "localstack.log"
    home = {"HOME": str(folder), "XDG_CACHE_HOME": str(folder / "cache"), "TMPDIR": str(folder)}
    environment = os.environ | ALONE | home | {"GATEWAY_LISTEN": f"127.0.0.1:{port}", "PYTHONPATH": ""}
    with log.open("wb") as output:
        command = [os.path.expanduser(python), "-m", "localstack.runtime.main"]
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)
    try:
        _await(f"http://127.0.0.1:{port}", process, log)
        yield Cloud(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _await(endpoint: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{endpoint}/_localstack/health", timeout=2) as answer:
                if "s3" in json.load(answer)["services"]:
                    return
        except OSError:
            time.sleep(0.3)
    pytest.fail(f"LocalStack did not start: {log.read_text()[-2000:]}")
