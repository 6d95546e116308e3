"""The function that the chaos workers run: cheap, with every way of ending, and what each must come to."""

import hashlib
import os
import signal
import time
from collections.abc import Callable

from shared.contract import keys
from shared.contract.function import Answer
from shared.contract.manifests import Json
from shared.contract.workspace import Workspace
from shared.errors import InvalidField, NoFaceInTemplate
from shared.runtime.isolation import IsolatedFunction
from shared.settings import Settings

NAME = "train"  # cheap; the real function beside it is check
DEADLINE = 4.0  # seconds of one request
ERRORS = {  # how a body says that it will end, and the type of error that must answer it
    "refused": "InvalidField",
    "unsuitable": "NoFaceInTemplate",
    "raises": "InternalError",
    "unsayable": "InternalError",
    "hangs": "DeadlineExceeded",
    "dies": "AttemptsExhausted",
}


class Labour:
    """Implements `shared.contract.function.Function`; a body says how long it takes, what it saves and how it ends."""

    def __init__(self, name: str) -> None:
        self.name = name

    def answer(self, body: Json, workspace: Workspace) -> Answer:
        """Work in small steps that the next attempt may go on from, then end as the body says."""
        kept = workspace.previous(keys.SCRATCH + "step")
        first = int(kept) if kept else 0
        for step in range(first, body["steps"]):
            workspace.progress("labour", step, body["steps"])
            time.sleep(body["seconds"] / body["steps"])
            if body["steps"] > 2:
                workspace.save(keys.SCRATCH + "step", str(step).encode())
        saved = {name: workspace.save(name, content(body, name)) for name in body["artifacts"]}
        self._end(body["ends"])
        data = {"value": value(body), "artifacts": saved, "user_id": body.get("user_id")}
        return Answer(data | ({"odd": float("nan")} if body["ends"] == "unsayable" else {}))

    def pointers(self, data: Json) -> dict[str, Json]:
        """The user's newest answer."""
        if data["user_id"] is None:
            return {}
        return {f"users/{data['user_id']}/model.json": {"user_id": data["user_id"], "value": data["value"]}}

    def evict(self, exists: Callable[[str], bool]) -> None:
        """Nothing is kept."""

    def _end(self, ends: str) -> None:
        if ends == "refused":
            raise InvalidField("value: refused by its sender's wish", "value")
        if ends == "unsuitable":
            raise NoFaceInTemplate("there is no face, as was asked for")
        if ends == "raises":
            raise ValueError("unforeseen, as was asked for")
        if ends == "hangs":
            time.sleep(DEADLINE + 1)
        if ends == "dies":
            os.kill(os.getpid(), signal.SIGKILL)


def load(name: str, settings: Settings) -> Labour:
    """What a worker loads instead of an installed function."""
    return Labour(name)


def load_apart(name: str, settings: Settings) -> IsolatedFunction:
    """The same in a process of its own, as the command line loads functions."""
    return IsolatedFunction(name, settings, load)


def value(body: Json) -> str:
    """What the answer to a body says; another body has another."""
    return hashlib.sha256(f"{body['request_id']}/{body['value']}".encode()).hexdigest()


def content(body: Json, name: str) -> bytes:
    """The bytes of an artifact; of a few kB, so that a cut one shows."""
    return hashlib.sha256(f"{value(body)}/{name}".encode()).digest() * body["artifacts"][name]
