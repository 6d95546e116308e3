"""Each extra for itself: photog with nothing but the core and that extra does what the extra is for."""

import json

import pytest

from tests.extras import Extras
from tests.toy_onnx import model_folder


def test_the_core_alone_says_which_extra_is_missing(tmp_path):
    core = Extras(tmp_path, ())
    assert "dead-letters" in core.photog("--help").stdout
    refused = core.photog("status", "s3://bucket")
    assert refused.returncode == 2
    assert "pip install '.[cloud]' in photog's checkout" in refused.stderr
    refused = core.photog("serve", "bucket")
    assert refused.returncode == 2
    assert "pip install '.[serve]' in photog's checkout" in refused.stderr


def test_the_http_entry_is_imported_with_its_extra_and_by_its_verb_only(tmp_path):
    for extras, status, told in (((), 2, "http needs uvicorn: pip install '.[http]'"), (("http",), 2, "is a file")):
        folder = tmp_path / "-".join(["links", *extras])
        folder.mkdir()
        refused = Extras(folder, extras).photog("http", "check", __file__)
        assert (refused.returncode, "Traceback" in refused.stderr) == (status, False)
        assert told in refused.stderr


def test_serve_starts_with_its_extra(tmp_path):
    shown = Extras(tmp_path, ["serve"]).photog("serve", "--help")
    assert shown.returncode == 0
    assert "--token" in shown.stdout


def test_the_insightface_engine_loads_with_its_extra(tmp_path):
    (tmp_path / "links").mkdir()
    extra = Extras(tmp_path / "links", ["insightface"], beside=["insightface"])
    model = model_folder(tmp_path / "toy")
    settings = {"PHOTOG_FACES__ENGINE": "insightface", "PHOTOG_FACES__MODEL": str(model)}
    report = json.loads(extra.photog("doctor", "--json", "--no-load", **settings).stdout)
    assert report["faces"]["engine"] == "insightface/toy", report["faces"]


def test_a_store_is_spoken_to_with_the_cloud_extra(tmp_path):
    settings = {"PHOTOG_S3__ENDPOINT": "http://127.0.0.1:1", "PHOTOG_S3__TRIES": "1", "AWS_REGION": "us-east-1"}
    keys = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "k"}
    refused = Extras(tmp_path, ["cloud"]).photog("status", "s3://bucket", **settings, **keys)
    assert refused.returncode == 75, "boto3 is there, and nobody answers"
    assert refused.stderr.startswith("photog: ")
    assert "Traceback" not in refused.stderr


@pytest.mark.slow  # two processes that import torch
def test_a_torchvision_for_another_torch_is_named_where_anything_imports_it(tmp_path):
    """As pip brings it with the extra `enhance` beside a torch for CPUs: its operators are those of CUDA's torch."""
    links, package = tmp_path / "links", tmp_path / "links" / "torchvision"
    links.mkdir()
    extra = Extras(links, ["diffusion"])
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
