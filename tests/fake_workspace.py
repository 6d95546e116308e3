"""A workspace with no bucket behind it: a dictionary of objects, and a list of what was said."""

from collections.abc import Mapping, Sequence
from hashlib import sha256

from shared.errors import PhotoError, PhotoUnavailable


class FakeWorkspace:
    """Implements `shared.contract.workspace.Workspace` for tests of a function alone."""

    def __init__(
        self,
        objects: dict[str, bytes] | None = None,
        request_id: str = "r1",
        attempt: int = 1,
        function: str = "any",
        unavailable: Mapping[str, PhotoError] | None = None,
    ) -> None:
        self._unavailable = dict(unavailable or {})
        self.function = function
        self.request_id = request_id
        self.attempt = attempt
        self.objects = dict(objects or {})
        self.said: list[tuple[str, int, int, dict[str, float]]] = []

    def fetch(self, references: Sequence[str]) -> list[bytes | PhotoError]:
        missing = {name: PhotoUnavailable(f"{name} is not there") for name in references} | self._unavailable
        return [self.objects.get(name, missing[name]) for name in references]

    def read(self, key: str) -> bytes | None:
        return self.objects.get(key)

    def etag(self, key: str) -> str | None:
        return sha256(self.objects[key]).hexdigest() if key in self.objects else None

    def size(self, key: str) -> int | None:
        return len(self.objects[key]) if key in self.objects else None

    def save(self, name: str, data: bytes) -> str:
        key = f"results/{self.function}/{self.request_id}/a{self.attempt}/{name}"
        self.objects[key] = data
        return key

    def previous(self, name: str) -> bytes | None:
        keys = [
            f"results/{self.function}/{self.request_id}/a{number}/{name}" for number in range(self.attempt - 1, 0, -1)
        ]
        return next((self.objects[key] for key in keys if key in self.objects), None)

    def progress(self, stage: str, step: int, steps: int, eta_seconds: float | None = None, **figures: float) -> None:
        self.said.append((stage, step, steps, figures))

    def check(self) -> None:
        """Nothing interrupts the work of a test."""
