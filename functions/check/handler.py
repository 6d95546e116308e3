"""The `check` function: request body in, answer out."""

from collections.abc import Callable

from functions.check.request import UNOWNED, CheckRequest
from functions.check.verify import verify_photos
from shared.contract.function import Answer, Function
from shared.contract.manifests import Json
from shared.contract.validation import validate
from shared.contract.workspace import Workspace
from shared.devices import once_more_with_less
from shared.faces import FaceEngine
from shared.faces.loading import load_engine
from shared.settings import Limits, Settings


class CheckFunction:
    """Implements `shared.contract.function.Function`."""

    name = "check"

    def __init__(self, engine: FaceEngine, limits: Limits, ignored_face: float = 0.0) -> None:
        self._engine = engine
        self._limits = limits
        self._ignored_face = ignored_face

    def answer(self, body: Json, workspace: Workspace) -> Answer:
        """Verify the photos; a RequestError becomes the failed answer."""
        request, warnings = validate(CheckRequest, body)

        def verify(one_by_one: bool) -> Answer:
            return verify_photos(request, workspace, self._engine, self._limits, self._ignored_face, one_by_one)

        answer = once_more_with_less(lambda: verify(False), lambda: verify(True))
        if request.configure.user_id is None:
            warnings.append(UNOWNED)
        return Answer(answer.data | {"warnings": warnings + answer.data["warnings"]}, answer.message)

    def evict(self, exists: Callable[[str], bool]) -> None:
        """Do nothing: a verification leaves nothing in memory."""

    def pointers(self, data: Json) -> dict[str, Json]:
        """Return no pointers: a verification changes nothing."""
        return {}


def load(settings: Settings) -> Function:
    """Load the face engine; called once per process."""
    return CheckFunction(load_engine(settings.faces), settings.limits, settings.faces.ignored_face)
