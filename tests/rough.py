"""Functions that do what none should, for tests of whatever must survive it; a child process imports them by name."""

import ctypes
import os
import signal
import time
from collections.abc import Callable

from shared.contract.function import Answer
from shared.contract.manifests import Json
from shared.contract.workspace import Workspace
from shared.errors import InvalidField, RequestError
from shared.settings import Settings

FOREVER = 600


class OddRequest(RequestError):
    """An error that only this module knows."""

    retryable, retry_after = True, 7


class Rough:
    """Does what its request's `do` says; keeps the keys in `keep` until it is told that they are gone."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._kept: set[str] = set()
        self._prepared: list[str] = []

    def answer(self, body: Json, workspace: Workspace) -> Answer:
        self._kept |= set(body.get("keep", []))
        getattr(self, f"_{body.get('do', 'echo')}")(body, workspace)
        return Answer({"echo": body, "pid": os.getpid(), "kept": sorted(self._kept), "user_id": "u"})

    def prepare(self, body: Json, workspace: Workspace) -> None:
        """Reads what the body names until it is told to end, as a request that is made ready beside another one."""
        self._prepared.append(body["request_id"])
        getattr(self, f"_prepare_{body.get('ready', 'once')}")(workspace)

    def _prepare_once(self, workspace: Workspace) -> None:
        workspace.read("photos/a")

    def _prepare_forever(self, workspace: Workspace) -> None:
        while True:
            workspace.read("photos/a")
            time.sleep(0.01)

    def _prepare_fails(self, workspace: Workspace) -> None:
        raise LookupError("as was asked for")

    def _await_prepared(self, body: Json, workspace: Workspace) -> None:
        while len(self._prepared) < body["prepared"]:
            workspace.progress("waiting", 1, 2)
            time.sleep(0.01)
        workspace.save("prepared.txt", " ".join(self._prepared).encode())

    def evict(self, exists: Callable[[str], bool]) -> None:
        self._kept = {key for key in self._kept if exists(key)}

    def pointers(self, data: Json) -> dict[str, Json]:
        return {"users/u/model.json": {"pid": data["pid"]}} if data["echo"].get("point") else {}

    def _echo(self, body: Json, workspace: Workspace) -> None:
        workspace.save("echo.txt", (workspace.read("photos/a") or b"") + (workspace.etag("photos/a") or "").encode())

    def _hang(self, body: Json, workspace: Workspace) -> None:
        """In native code that holds the interpreter's lock: no thread of this process runs, no signal is handled."""
        ctypes.PyDLL(None).sleep(body.get("seconds", FOREVER))

    def _work(self, body: Json, workspace: Workspace) -> None:
        while True:
            workspace.progress("working", 1, 2)
            time.sleep(0.02)

    def _die(self, body: Json, workspace: Workspace) -> None:
        if workspace.previous("died") is None or not body.get("once"):
            workspace.save("died", b"")
            os.kill(os.getpid(), signal.SIGKILL)

    def _raise(self, body: Json, workspace: Workspace) -> None:
        if workspace.previous("raised") is not None:
            return
        if body.get("once"):
            workspace.save("raised", b"")
        raise RuntimeError(body["said"])

    def _exit(self, body: Json, workspace: Workspace) -> None:
        os._exit(3)

    def _refuse(self, body: Json, workspace: Workspace) -> None:
        raise InvalidField("x: must not be", "x")

    def _odd(self, body: Json, workspace: Workspace) -> None:
        raise OddRequest("this is odd", "y")

    def _fail(self, body: Json, workspace: Workspace) -> None:
        raise ZeroDivisionError("by nought")


def load(name: str, settings: Settings) -> Rough:
    return Rough(name)


def load_nothing(name: str, settings: Settings) -> Rough:
    raise FileNotFoundError("the model is not there")
