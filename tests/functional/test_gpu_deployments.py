"""Wherever a GPU is asked for, the worker is told to use it: a new deployment that forgets it fails here.

The files are found by themselves, whatever they are called; a container is known by how its platform asks for GPUs.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.devices.gpu import CUDA_MAJOR, LEAST_DRIVER
from tests.deployment import DOCKERFILES, ROOT, documents, instructions, is_setting

SETTINGS = {"PHOTOG_MODEL__DEVICE": "cuda", "PHOTOG_FACES__PROVIDER": "cuda"}
UNREAD = {".venv", ".git", "build", "out", ".github", "node_modules"}
ASKED = re.compile(  # outside of comments
    r"^[^#\n]*(nvidia\.com/(gpu|mig)|gpuConfig|Type: GPU|capabilities: \[.*gpu|driver: nvidia|runtime: nvidia)", re.M
)


def files() -> list[Path]:
    found = []
    for folder, folders, names in os.walk(ROOT):
        folders[:] = set(folders) - UNREAD
        found += [Path(folder, name) for name in names if name.endswith((".yaml", ".yml"))]
    return sorted(path for path in found if ASKED.search(path.read_text()))


FILES = files()


def chosen(value: Any) -> Any:
    """Return a template's value where a condition holds: the first of `!If [OnGpu, this, that]`."""
    if isinstance(value, dict) and set(value) == {"Fn::If"}:
        return chosen(value["Fn::If"][1])
    return [chosen(one) for one in value] if isinstance(value, list) else value


def below(node: dict[str, Any], *names: str) -> Any:
    for name in names:
        node = node.get(name, {}) if isinstance(node, dict) else {}
    return node


def asks(node: dict[str, Any]) -> bool:
    """Return whether a mapping is a container that asks for a GPU: of Kubernetes, ECS, Batch, Compose or fc3."""
    limited = [name for kind in ("limits", "requests") for name in below(node, "resources", kind)]
    needs = chosen(node.get("ResourceRequirements", []))
    reserved = below(node, "deploy", "resources", "reservations", "devices")
    return (
        any(str(name).startswith("nvidia.com/") for name in limited)
        or any(isinstance(one, dict) and one.get("Type") == "GPU" for one in needs)
        or any("gpu" in one["capabilities"] for one in reserved)
        or bool({"gpuConfig", "gpus"} & set(node))
        or node.get("runtime") == "nvidia"
    )


def told(node: dict[str, Any]) -> dict[str, Any]:
    """Return the container's environment, in the form of any of the platforms."""
    given: Any = next((chosen(node[name]) for name in ENVIRONMENTS if name in node), {})
    if isinstance(given, dict):
        return given
    listed = [one.split("=", 1) for one in given if isinstance(one, str)]
    named = [one for one in given if isinstance(one, dict)]
    return dict(listed) | {str(one.get("name", one.get("Name"))): one.get("value", one.get("Value")) for one in named}


ENVIRONMENTS = ("env", "Environment", "environment", "environmentVariables")


def containers(node: object, place: str = "") -> Iterator[tuple[str, dict]]:
    if isinstance(node, dict):
        if asks(node):
            yield place, node
        for name, one in node.items():
            if not str(name).startswith("x-"):  # what stands there is used elsewhere, or nowhere
                yield from containers(one, f"{place}/{name}")
    if isinstance(node, list):
        for number, one in enumerate(node):
            yield from containers(one, f"{place}/{number}")


FOUND = {
    f"{path.relative_to(ROOT)}:{place}": container
    for path in FILES
    for document in documents(path)
    for place, container in containers(document)
}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_that_asks_for_a_gpu_has_a_container_that_is_read_here(path):
    assert [place for place in FOUND if place.startswith(f"{path.relative_to(ROOT)}:")]


def test_every_platform_is_among_them():
    assert {place.partition(":")[0] for place in FOUND} >= {
        "deploy/aws/batch.yaml",
        "deploy/aws/function.yaml",
        "deploy/compose.gpu.yaml",
        "deploy/kubernetes/generate.yaml",
        "deploy/kubernetes/train.yaml",
        "deploy/s.yaml",
    }


@pytest.mark.parametrize("place", FOUND)
def test_a_container_with_a_gpu_does_not_fall_to_the_cpu(place):
    environment = told(FOUND[place])
    assert {name: environment.get(name) for name in SETTINGS} == SETTINGS
    for name, value in SETTINGS.items():
        is_setting(name, value)


def test_a_task_without_a_gpu_is_not_told_to_use_one():
    (task,) = [one for place, one in FOUND.items() if place.startswith("deploy/aws/function.yaml")]
    otherwise = ("OnGpu", {"Ref": "AWS::NoValue"})
    choices = [one["Fn::If"] for one in task["Environment"] if "Fn::If" in one]
    assert {one["Name"] for condition, one, no in choices if (condition, no) == otherwise} == set(SETTINGS)


@pytest.mark.parametrize(
    "text",
    [
        "spec: {containers: [{resources: {limits: {nvidia.com/gpu: 1}}, env: [{name: A, value: b}]}]}",
        "Properties: {ContainerProperties: {ResourceRequirements: [{Type: GPU, Value: '1'}], Environment: []}}",
        "services: {t: {deploy: {resources: {reservations: {devices: [{capabilities: [gpu]}]}}}, environment: [A=b]}}",
        "resources: {train: {props: {gpuConfig: {gpuType: x}, environmentVariables: {A: b}}}}",
    ],
)
def test_a_forgotten_setting_would_be_found(text):
    ((_, container),) = containers(yaml.safe_load(text))
    assert not SETTINGS.items() <= told(container).items()


def test_compose_gives_each_function_a_gpu_of_its_own():
    (compose,) = documents(ROOT / "deploy/compose.gpu.yaml")
    gpus = {}
    for name, service in compose["services"].items():
        (device,) = service["deploy"]["resources"]["reservations"]["devices"]
        (gpus[name],) = device["device_ids"]
        assert "count" not in device, "nobody knows which of the GPUs it would be"
    assert gpus == {"train": "${PHOTOG_TRAIN_CARD:-0}", "generate": "${PHOTOG_GENERATE_CARD:-1}"}


# --- releases that fit each other --------------------------------------------------------------------------------


def pinned(name: str) -> str:
    (release,) = re.findall(rf"^{re.escape(name)}==(\S+)$", (ROOT / "constraints.txt").read_text(), re.M)
    return release


def test_the_docs_name_the_driver_that_the_pinned_releases_need():
    """Another torch or onnxruntime-gpu may be built for another CUDA: check, and update the page."""
    text = (ROOT / "docs/gpu.md").read_text()
    for name in ("torch", "onnxruntime-gpu"):
        assert f"| {name} {pinned(name)} |" in text
    assert f"**{LEAST_DRIVER} or newer**" in text
    assert f"CUDA {CUDA_MAJOR}" in text


@pytest.mark.parametrize("function", ["train", "generate"])
def test_images_take_the_pinned_onnxruntime_for_gpus_unless_torch_is_the_one_for_cpus(function):
    (line,) = [rest for name, rest in instructions(DOCKERFILES[function]) if name == "RUN" and "onnxruntime" in rest]
    assert "pip install --constraint constraints.txt onnxruntime-gpu" in line
    assert 'case "${PIP_EXTRA_INDEX_URL}" in */cpu*) ;; *)' in line
    assert "pip uninstall --yes onnxruntime &&" in line, "both give the same module, so one has to go"
