"""Fixtures that several files share."""

from collections.abc import Iterator

import pytest

from tests.cloud import Cloud, start


@pytest.fixture(scope="session")
def cloud() -> Iterator[Cloud]:
    """moto's server, started by the first test that asks."""
    server, made = start()
    yield made
    server.stop()
