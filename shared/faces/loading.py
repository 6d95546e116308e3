"""Loads the configured face engine; the packages of the other engines are not imported."""

from importlib.util import find_spec
from pathlib import Path

from shared.errors import how_to_install
from shared.faces.base import EngineUnavailable, FaceEngine
from shared.settings import FaceSettings

DLIB_NEEDED = ("dlib", "face_recognition_models")
NEEDED = ("insightface", "onnxruntime", "onnx", "skimage", "scipy", "requests", "tqdm")  # by the insightface engine


def name_engine(settings: FaceSettings) -> str:
    """Return what the configured engine is called, by which users' models know it; nothing is loaded."""
    return f"insightface/{Path(settings.model).name}" if settings.engine == "insightface" else settings.engine


def load_engine(settings: FaceSettings) -> FaceEngine:
    """Load the engine; called once per process. Raises EngineUnavailable, which says what to install or download."""
    if settings.engine == "mesh":
        from shared.faces.mesh import MeshEngine

        return MeshEngine(settings)
    if settings.engine == "dlib":
        if missing := [name for name in DLIB_NEEDED if find_spec(name) is None]:
            raise EngineUnavailable(f"the dlib engine needs {', '.join(missing)}: {how_to_install('dlib')}")
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
