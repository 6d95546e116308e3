"""Dockerfiles, compose.yaml, Kubernetes manifests, s.yaml: linted where possible, else checked against the code."""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from shared.events import parse
from shared.settings import Settings
from tests.deployment import (
    DOCKERFILES,
    FUNCTIONS,
    ROOT,
    command,
    environment,
    health_command,
    instructions,
    is_setting,
    last_stage,
    understood,
)

BIN = Path(sys.executable).parent
KUBERNETES = sorted((ROOT / "deploy/kubernetes").rglob("[!k]*.yaml"))
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVERLESS = yaml.safe_load((ROOT / "deploy/s.yaml").read_text())
DRAIN = Settings().lease.drain_seconds
BY_NAME = re.compile(r"""\binstall\s+(?:-\S+\s+)*["']?photog\b(?![-/])""")
UNREAD = {".venv", ".git", "build", "out", Path(__file__).name}


# --- images --------------------------------------------------------------------------------------------------


def test_hadolint_has_nothing_to_say():
    found = subprocess.run([BIN / "hadolint", *DOCKERFILES.values()], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "")


@pytest.mark.parametrize("function", FUNCTIONS)
def test_an_image_runs_its_worker_as_nobody_in_particular_with_no_shell_between(function):
    dockerfile = DOCKERFILES[function]
    assert command(dockerfile) == ["photog", "worker", function, "/bucket"]
    assert health_command(dockerfile) == ["photog", "health", function]
    understood(command(dockerfile)[1:])
    understood(health_command(dockerfile)[1:])
    user, group = last_stage(dockerfile)["USER"][-1].split(":")
    assert user.isdecimal(), "a name cannot be checked by runAsNonRoot"
    assert int(user) > 0
    assert int(group) > 0
    assert "build" in next(rest for name, rest in instructions(dockerfile) if name == "FROM"), "two stages"
    for name, value in environment(dockerfile).items():
        if name.startswith("PHOTOG_"):
            is_setting(name, value)


def test_the_image_of_serve_listens_where_it_is_asked_for_its_health():
    dockerfile = DOCKERFILES["serve"]
    assert command(dockerfile) == ["photog", "serve", "/bucket", "--host", "0.0.0.0"]
    understood(command(dockerfile)[1:])
    (port,) = last_stage(dockerfile)["EXPOSE"]
    assert f"127.0.0.1:{port}/healthz" in health_command(dockerfile)[-1]
    assert last_stage(dockerfile)["USER"] == last_stage(DOCKERFILES["check"])["USER"]
    is_setting("PHOTOG_SERVE__STATE", environment(dockerfile)["PHOTOG_SERVE__STATE"])


@pytest.mark.parametrize(
    ("function", "torch"), [("check", False), ("train", True), ("generate", True), ("serve", False)]
)
def test_torch_is_in_the_images_that_need_it_only(function, torch):
    extras = next(rest for name, rest in instructions(DOCKERFILES[function]) if rest.startswith("EXTRAS="))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = extras.removeprefix("EXTRAS=").strip('"').split()
    wanted = [*project["dependencies"], *(one for name in named for one in project["optional-dependencies"][name])]
    assert any(one.startswith("torch>") for one in wanted) is torch
    assert any(one.startswith("boto3") for one in wanted), "buckets that are no folder"


def test_everything_that_an_image_copies_is_in_the_context():
    lines = (ROOT / ".dockerignore").read_text().split()
    admitted = {line[1:] for line in lines if line.startswith("!")}
    assert "*" in lines
    for dockerfile in DOCKERFILES.values():
        for name, rest in instructions(dockerfile):
            if name == "COPY" and not rest.startswith("--from"):
                sources = [one.replace("${MODELS}", "deploy/models") for one in rest.split()[:-1]]
                assert set(sources) <= admitted, dockerfile
                assert all((ROOT / one).exists() for one in sources)


# --- compose -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", FUNCTIONS)
def test_compose_runs_each_function_on_the_bucket_that_it_makes(function):
    service = COMPOSE["services"][function]
    assert service["build"]["dockerfile"] == f"functions/{function}/Dockerfile"
    understood(service["command"])
    assert service["command"] == ["worker", function, "s3://photog"]
    assert COMPOSE["services"]["bucket"]["command"][-1] == "store/photog"
    for name, value in service["environment"].items():
        if name.startswith("PHOTOG_"):
            is_setting(name, None if "$" in value else value)
    assert float(service["stop_grace_period"].removesuffix("s")) > DRAIN
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["depends_on"]["bucket"]["condition"] == "service_completed_successfully"
    health = Path(environment(DOCKERFILES[function])["PHOTOG_HEALTH__FILE"])
    assert str(health.parent) in service["tmpfs"], "the worker must be able to write its sign of life"


def test_compose_serves_the_sdk_when_asked_to():
    service = COMPOSE["services"]["serve"]
    understood(service["command"])
    assert service["command"][:2] == ["serve", "s3://photog"]
    assert service["profiles"] == ["serve"], "who has no token runs the workers all the same"
    for name, value in service["environment"].items():
        if name.startswith("PHOTOG_"):
            is_setting(name, None if "$" in value else value)
    state = Path(environment(DOCKERFILES["serve"])["PHOTOG_SERVE__STATE"])
    assert str(state.parent) in service["tmpfs"]


def test_what_compose_listens_to_is_reached_from_this_machine_only():
    listening = [one for service in COMPOSE["services"].values() for one in service.get("ports", [])]
    assert len(listening) == 2
    assert all(port.startswith("127.0.0.1:") for port in listening)


# --- Kubernetes ----------------------------------------------------------------------------------------------


def objects() -> list[dict]:
    return [one for path in KUBERNETES for one in yaml.safe_load_all(path.read_text())]


def pods() -> Iterator[tuple[dict, dict]]:
    """Yield each object that runs pods, with its pod's specification."""
    for one in objects():
        spec = one.get("spec", {})
        spec = spec.get("jobTargetRef", spec.get("jobTemplate", {}).get("spec", spec))
        if "template" in spec:
            yield one, spec["template"]["spec"]


@pytest.mark.parametrize("path", KUBERNETES, ids=lambda path: path.name)
def test_kubernetes_own_schemas_accept_the_manifests(path):
    import kubernetes_validate

    for one in yaml.safe_load_all(path.read_text()):
        if not one["apiVersion"].startswith("keda.sh/"):  # no package has KEDA's
            kubernetes_validate.validate(one, "1.31", strict=True)


def test_kustomize_lists_every_manifest():
    for folder in {path.parent for path in KUBERNETES}:
        listed = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
        assert sorted(listed) == [path.name for path in KUBERNETES if path.parent == folder]


def test_pods_run_verbs_that_exist_without_any_right_that_they_do_not_need():
    assert len(list(pods())) == 3 + 4 + 1
    for one, spec in pods():
        (container,) = spec["containers"]
        understood(container["args"])
        assert spec["securityContext"]["runAsNonRoot"] is True, one["metadata"]
        assert f"{spec['securityContext']['runAsUser']}" == last_stage(DOCKERFILES["check"])["USER"][-1].split(":")[0]
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert "memory" in container["resources"]["limits"]
        assert {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"]
        for variable in container.get("env", []):
            is_setting(variable["name"], variable.get("value"))


def test_workers_have_time_to_drain_and_say_that_they_live():
    workers = [(one, spec) for one, spec in pods() if spec["containers"][0]["args"][0] == "worker"]
    assert len(workers) == 3
    for one, spec in workers:
        function = one["metadata"]["name"]
        container = spec["containers"][0]
        assert spec["terminationGracePeriodSeconds"] > DRAIN
        assert container["livenessProbe"]["exec"]["command"] == ["photog", "health", function]
        gpu = container["resources"]["limits"].get("nvidia.com/gpu")
        assert gpu == (None if function == "check" else "1")


def test_keda_scales_each_function_on_its_own_queue_one_message_a_pod():
    scaled = {one["metadata"]["name"]: one for one in objects() if one["kind"] in ("ScaledObject", "ScaledJob")}
    assert set(scaled) == set(FUNCTIONS)
    assert scaled["train"]["kind"] == "ScaledJob", "no scale-in may take a pod that trains"
    for function, one in scaled.items():
        (trigger,) = one["spec"]["triggers"]
        assert (trigger["type"], trigger["metadata"]["queueLength"]) == ("aws-sqs-queue", "1")
        assert trigger["metadata"]["queueURL"].endswith(f"/photog-{function}")
        assert one["spec"]["maxReplicaCount"] == 5
        # `accurate` adds jobs for what nobody works on; the others count who is busy, too
        assert trigger["metadata"]["scaleOnInFlight"] == ("false" if function == "train" else "true")
        polled = [spec["containers"][0] for owner, spec in pods() if owner["metadata"]["name"] == function]
        assert trigger["metadata"]["queueURL"] in [one["value"] for one in polled[0]["env"]]


def test_disruption_budgets_select_pods_that_exist():
    deployed = [one["spec"] for one in objects() if one["kind"] == "Deployment"]
    labels = [one["template"]["metadata"]["labels"] for one in deployed if one["strategy"]["type"] != "Recreate"]
    budgets = [one for one in objects() if one["kind"] == "PodDisruptionBudget"]
    assert [one["spec"]["selector"]["matchLabels"] for one in budgets] == labels


def test_one_pod_serves_and_is_reached_by_clients_on_its_port_only():
    made = {one["kind"]: one for one in objects() if one["metadata"]["name"].endswith("serve")}
    deployment, service, policy = (made[kind]["spec"] for kind in ("Deployment", "Service", "NetworkPolicy"))
    assert (deployment["replicas"], deployment["strategy"]) == (1, {"type": "Recreate"}), "two would answer a put twice"
    labels = deployment["template"]["metadata"]["labels"]
    assert service["selector"] == policy["podSelector"]["matchLabels"] == labels
    (container,) = deployment["template"]["spec"]["containers"]
    (port,) = container["ports"]
    assert f"{port['containerPort']}" == last_stage(DOCKERFILES["serve"])["EXPOSE"][0]
    (rule,) = policy["ingress"]
    assert [one["port"] for one in rule["ports"]] == [service["ports"][0]["targetPort"]] == [port["name"]]
    assert rule["from"], "no rule of a policy means everybody"
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": port["name"]}


# --- Function Compute ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", FUNCTIONS)
def test_function_compute_invokes_the_http_entry_with_its_own_requests_only(function):
    props = SERVERLESS["resources"][function]["props"]
    container = props["customContainerConfig"]
    understood(container["command"])
    assert container["entrypoint"] == json.loads(last_stage(DOCKERFILES[function])["ENTRYPOINT"][-1])
    assert container["command"][1] == function
    assert container["command"][-1] == str(container["port"])
    assert props["instanceConcurrency"] == 1
    assert container["healthCheckConfig"]["httpGetUrl"] == "/healthz"
    (trigger,) = props["triggers"]
    assert trigger["triggerConfig"]["filter"]["key"] == {"prefix": f"requests/{function}/", "suffix": ".json"}
    assert ("gpuConfig" in props) is (function != "check")
    assert props["asyncInvokeConfig"]["destinationConfig"]["onFailure"]
    if function != "check":
        assert props["timeout"] > Settings().limits.request_seconds, "the request's own limit answers first"
    for name, value in props["environmentVariables"].items():
        if name.startswith("PHOTOG_"):
            is_setting(name, None if "$" in value else value)


def test_parts_of_an_upload_trigger_nothing():
    (trigger,) = SERVERLESS["resources"]["train"]["props"]["triggers"]
    events = trigger["triggerConfig"]["events"]
    assert not {"oss:ObjectCreated:*", "oss:ObjectCreated:UploadPart"} & set(events)
    sample = json.loads((ROOT / "events/oss-function-compute.json").read_text())
    assert f"oss:{sample['events'][0]['eventName']}" in events
    assert [one.key for one in parse(sample)] == ["requests/check/a b+1.json"]


# --- installing ----------------------------------------------------------------------------------------------


def test_nothing_tells_anybody_to_install_another_project_of_our_name():
    """The name is taken on PyPI, so photog is installed from its checkout."""
    kinds = ("*.md", "*.py", "*.toml", "*.yaml", "Dockerfile", "Makefile", "*.txt")
    files = [path for kind in kinds for path in ROOT.rglob(kind) if not set(path.parts) & UNREAD]
    assert len(files) > 200
    for path in files:
        assert not BY_NAME.search(path.read_text()), path


@pytest.mark.parametrize("command", ["pip install photog", "uv pip install -U 'photog[cloud]'", "pipx install photog"])
def test_a_command_that_would_do_so_is_found(command):
    assert BY_NAME.search(command)


def test_documented_extras_exist():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    texts = [(ROOT / "README.md"), *sorted((ROOT / "docs").glob("*.md"))]
    named = [one for path in texts for one in re.findall(r"pip install [^`\n]*'\.\[([\w,]+)\]'", path.read_text())]
    assert {"cloud", "serve", "insightface", "enhance"} <= {extra for one in named for extra in one.split(",")}
    assert {extra for one in named for extra in one.split(",")} <= set(extras)
