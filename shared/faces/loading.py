"""The face engine that the settings name; an engine's packages are imported only where it is the one."""

from importlib.util import find_spec

from shared.errors import how_to_install
from shared.faces.base import EngineUnavailable, FaceEngine
from shared.settings import FaceSettings

NEEDED = ("insightface", "onnxruntime", "onnx", "skimage", "scipy", "requests", "tqdm")  # by the insightface engine


def load_engine(settings: FaceSettings) -> FaceEngine:
    """Load it, once per process; EngineUnavailable says what to install or to download."""
    if settings.engine == "dlib":
        from shared.faces.dlib import DlibEngine

        return DlibEngine()
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise EngineUnavailable(
            f"the insightface engine needs {', '.join(missing)}: {how_to_install('insightface')}, then "
            "pip install --no-deps insightface (its own dependencies would bring a second opencv)"
        )
    from shared.faces.insightface import InsightfaceEngine

    return InsightfaceEngine(settings)
