"""Each extra for itself: photog with nothing but the core and that extra does what the extra is for."""

import json
import re
from email.parser import Parser
from importlib import metadata
from pathlib import Path

import httpx
import pytest

from shared.contract.release import VERSION
from tests.browser import run_page
from tests.dependencies import EXTRAS, OURS, PROJECT
from tests.deployment import ROOT
from tests.documentation import commands
from tests.extras import Extras, build_wheel, unpack_wheel
from tests.toy_onnx import model_folder

OTHERS = {"photog"}  # names on PyPI that belong to others


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    return unpack_wheel(build_wheel(folder), folder / "unpacked")


def test_the_wheel_has_a_name_of_its_own_all_extras_and_nothing_but_the_packages(wheel):
    (about,) = wheel.glob("*.dist-info")
    told = Parser().parsestr((about / "METADATA").read_text())
    assert told["Name"] == PROJECT["name"] not in OTHERS
    assert told["Version"] == VERSION
    assert set(told.get_all("Provides-Extra")) == set(EXTRAS)
    assert {path.name for path in wheel.iterdir()} == {about.name, *OURS}
    entries = metadata.Distribution.at(about).entry_points
    assert {(one.group, one.name) for one in entries} >= {("console_scripts", "photog"), ("photog.commands", "serve")}
    for name in OURS:
        assert (wheel / name / "py.typed").exists(), name
    weights = {path.relative_to(wheel) for path in wheel.rglob("*") if path.suffix in (".onnx", ".safetensors")}
    here = Path(__file__).parents[2]
    assert weights == {
        path.relative_to(here)
        for name in OURS
        for path in (here / name).rglob("*")
        if path.suffix in (".onnx", ".safetensors")
    }


def test_nothing_asks_the_installation_for_the_release_whose_name_there_may_change():
    """`make setup` and images install another name than the one by which an earlier release was installed."""
    for name in OURS:
        for path in (ROOT / name).rglob("*.py"):
            asked = re.findall(r"\bversion\(([^)]*)\)", path.read_text())
            assert not {"SOFTWARE", '"photog"', "'photog'", '"photog-portraits"'} & set(asked), path


def test_nothing_keeps_the_wheel_from_being_published(wheel):
    (about,) = wheel.glob("*.dist-info")
    told = Parser().parsestr((about / "METADATA").read_text())
    assert not [one for one in told.get_all("Classifier") if one.startswith("Private ::")]
    assert told["License-Expression"] == "Apache-2.0"
    assert told["Description-Content-Type"] == "text/markdown"
    assert not [one for one in told.get_all("Requires-Dist") if "@" in one], "PyPI takes no addresses"


@pytest.mark.parametrize("hidden", ["shared", "functions"])
def test_the_client_names_the_package_of_an_application_that_hides_one_of_its_own(wheel, tmp_path, hidden):
    links = tmp_path / "links"
    links.mkdir()
    core = Extras(links, wheel, ())
    for name in ("shared.py", "functions/__init__.py"):
        if name.startswith(hidden):
            path = tmp_path / "application" / name
            path.parent.mkdir(parents=True)
            path.touch()
    refused = core.python(f"import sys; sys.path.insert(0, {str(tmp_path / 'application')!r}); import photog")
    assert refused.stderr.splitlines()[-1].startswith(f"ImportError: {tmp_path / 'application' / hidden}")
    assert "give yours another name" in refused.stderr


def test_the_client_is_imported_from_the_core_alone(wheel, tmp_path):
    core = Extras(tmp_path, wheel, ())
    done = core.python("import photog; print(photog.FakeClient().check(['a.jpg']).wait(1).code, photog.__file__)")
    assert done.stdout.split() == ["OK", str(tmp_path / "photog" / "__init__.py")], done.stderr


def test_a_light_install_of_the_client_sends_requests_and_reads_answers(wheel, tmp_path):
    """By the two commands of docs/client.md, of which the second names all that the client imports."""
    (installs, *_) = [one for one in commands(ROOT / "docs/client.md") if "pydantic" in one.words]
    links, bucket = tmp_path / "links", tmp_path / "bucket"
    links.mkdir()
    bucket.mkdir()
    packages = [word for word in installs.words[2:] if not word.startswith("-") and "." not in word]
    light = Extras(links, wheel, instead=packages)
    done = light.python(
        f"import photog; job = photog.Client.open_bucket({str(bucket)!r}).generate(b'a template', user_id='ann'); "
        "print(job.answer(), photog.FakeClient().check(['a.jpg']).wait(1).code); "
        "photog.Client.open_server('http://127.0.0.1:1', 'token'); photog.AsyncClient"
    )
    assert done.stdout.split() == ["None", "OK"], done.stderr
    assert list((bucket / "requests/generate").iterdir())


def test_the_dlib_engine_loads_with_its_extra(wheel, tmp_path):
    extra = Extras(tmp_path, wheel, ["dlib"])
    report = json.loads(extra.photog("doctor", "--json", "--no-load", PHOTOG_FACES__ENGINE="dlib").stdout)
    assert report["faces"]["engine"].startswith("dlib"), report["faces"]
    assert report["packages"]["photog"] == VERSION


def test_the_core_alone_says_which_extra_is_missing(wheel, tmp_path):
    core = Extras(tmp_path, wheel, ())
    assert "dead-letters" in core.photog("--help").stdout
    refused = core.photog("status", "s3://bucket")
    assert refused.returncode == 2
    assert "pip install '.[cloud]' in photog's checkout" in refused.stderr
    refused = core.photog("serve", "bucket")
    assert refused.returncode == 2
    assert "pip install '.[serve]' in photog's checkout" in refused.stderr


def test_the_http_entry_is_imported_with_its_extra_and_by_its_verb_only(wheel, tmp_path):
    for extras, status, told in (((), 2, "http needs uvicorn: pip install '.[http]'"), (("http",), 2, "is a file")):
        folder = tmp_path / "-".join(["links", *extras])
        folder.mkdir()
        refused = Extras(folder, wheel, extras).photog("http", "check", __file__)
        assert (refused.returncode, "Traceback" in refused.stderr) == (status, False)
        assert told in refused.stderr


def test_serve_starts_with_its_extra(wheel, tmp_path):
    shown = Extras(tmp_path, wheel, ["serve"]).photog("serve", "--help")
    assert shown.returncode == 0
    assert "--token" in shown.stdout


def test_the_page_starts_with_its_extra(wheel, tmp_path):
    environment = Extras(tmp_path, wheel, ["page"])
    shown = environment.photog("page", "--help")
    assert shown.returncode == 0, shown.stderr
    assert "--workers" in shown.stdout
    style = environment.python(
        "import page.application as made; print(made.ASSETS.joinpath('page.css').stat().st_size)"
    )
    assert int(style.stdout) > 1000, style.stderr


def test_the_insightface_engine_loads_with_its_extra(wheel, tmp_path):
    (tmp_path / "links").mkdir()
    extra = Extras(tmp_path / "links", wheel, ["insightface"], beside=["insightface"])
    model = model_folder(tmp_path / "toy")
    settings = {"PHOTOG_FACES__ENGINE": "insightface", "PHOTOG_FACES__MODEL": str(model)}
    report = json.loads(extra.photog("doctor", "--json", "--no-load", **settings).stdout)
    assert report["faces"]["engine"] == "insightface/toy", report["faces"]


def test_a_store_is_spoken_to_with_the_cloud_extra(wheel, tmp_path):
    settings = {"PHOTOG_S3__ENDPOINT": "http://127.0.0.1:1", "PHOTOG_S3__TRIES": "1", "AWS_REGION": "us-east-1"}
    keys = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "k"}
    refused = Extras(tmp_path, wheel, ["cloud"]).photog("status", "s3://bucket", **settings, **keys)
    assert refused.returncode == 75, "boto3 is there, and nobody answers"
    assert refused.stderr.startswith("photog: ")
    assert "Traceback" not in refused.stderr


def test_the_page_answers_its_first_request_out_of_the_wheel(wheel, tmp_path):
    links, bucket = tmp_path / "links", tmp_path / "bucket"
    links.mkdir()
    bucket.mkdir()
    program = Extras(links, wheel, ["page"]).program
    with run_page(bucket, "--no-workers", program=program) as address:
        connected = httpx.HTTPTransport(retries=10)  # each after a longer pause: the address is told before it listens
        with httpx.Client(transport=connected, follow_redirects=True, timeout=30) as client:
            shown = client.get(address)
        (style,) = set(re.findall(r"/[^\"' ]*page\.css", shown.text))
        assert (shown.status_code, httpx.get(httpx.URL(address).join(style)).status_code) == (200, 200)
    assert "People" in shown.text


# stands for torchvision, whose wheels belong to CUDA's torch: spandrel imports three names, for networks not used here
TORCHVISION = "def normalize(*given): raise AssertionError\nrotate = InterpolationMode = normalize\n"
ENLARGE = """
import numpy, torch
from pathlib import Path
from spandrel.architectures.Compact import Compact
from functions.generate.networks.image_network import load_network
torch.save({{"params": Compact(num_feat=8, num_conv=2, upscale=2).state_dict()}}, {file!r})
made = load_network(Path({file!r}), "PHOTOG_ENHANCE__UPSCALE_NETWORK", torch.device("cpu"), upscaling=True)
print(made.name, made(numpy.zeros((8, 8, 3), numpy.uint8)).shape)
"""


@pytest.mark.slow  # a process that imports torch
def test_a_network_enlarges_a_picture_with_the_enhance_extra(wheel, tmp_path):
    (about,) = wheel.glob("*.dist-info")
    needed = Parser().parsestr((about / "METADATA").read_text()).get_all("Requires-Dist")
    brought = {re.split("[>=]", one)[0] for one in needed if re.search("extra == .enhance.", one)}
    assert brought == {"spandrel", "torchvision"}
    links = tmp_path / "links"
    transforms = links / "torchvision" / "transforms"
    transforms.mkdir(parents=True)
    for file in (links / "torchvision/__init__.py", transforms / "__init__.py"):
        file.touch()
    (transforms / "functional.py").write_text(TORCHVISION)
    try:
        extra = Extras(links, wheel, ["diffusion"], beside=["spandrel", "einops"])
    except metadata.PackageNotFoundError as missing:
        pytest.skip(f"{missing} is not installed: pip install --no-deps spandrel einops")
    done = extra.python(f"exec({ENLARGE.format(file=str(tmp_path / 'twice.pth'))!r})")
    assert done.stdout.split()[-3:] == ["(16,", "16,", "3)"], done.stderr
    assert "twice.pth" in done.stdout


@pytest.mark.slow  # two processes that import torch
def test_a_torchvision_for_another_torch_is_named_where_anything_imports_it(wheel, tmp_path):
    """As pip brings it with the extra `enhance` beside a torch for CPUs: its operators are those of CUDA's torch."""
    links, package = tmp_path / "links", tmp_path / "links" / "torchvision"
    links.mkdir()
    extra = Extras(links, wheel, ["diffusion"])
    package.mkdir()
    package.joinpath("__init__.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    package.joinpath("transforms").mkdir()
    package.joinpath("transforms/__init__.py").touch()
    metadata = links / "torchvision-0.28.0.dist-info"
    metadata.mkdir()
    metadata.joinpath("METADATA").write_text("Metadata-Version: 2.1\nName: torchvision\nVersion: 0.28.0\n")
    expected = "torchvision is not the one made for the torch that is installed"
    report = extra.photog("doctor", "--json", "--no-load")
    assert report.returncode == 1, report.stderr
    assert report.stdout, report.stderr
    assert expected in json.loads(report.stdout)["diffusion"]["missing"]
    worker = extra.photog("worker", "generate", tmp_path / "bucket")
    assert (worker.returncode, "Traceback" in worker.stderr) == (2, False)
    assert f"generate cannot be loaded: {expected}" in worker.stderr
