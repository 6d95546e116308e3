"""The license of a base model, where it is told, and that answers and doctor say it."""

import json
import shutil

import pytest
import torch
from safetensors.torch import save_file

from shared.cli import doctor
from shared.models.diffusion import load_model, working
from shared.models.licenses import describe_license, find_license, warn_of_license
from shared.models.model_loading import read_architecture, resolve_source
from shared.models.profile import PROFILE_FILE
from shared.settings import ModelSettings, Settings
from tests.tiny_flow import make_tiny_klein

KLEIN = "FLUX Non-Commercial License"


@pytest.fixture(scope="module")
def klein(tmp_path_factory):
    return make_tiny_klein(tmp_path_factory.mktemp("klein") / "base")


@pytest.fixture
def folder(klein, tmp_path):
    shutil.copytree(klein, tmp_path / "base")
    return tmp_path / "base"


def found(path):
    where = resolve_source(ModelSettings(path=str(path)))
    return find_license(where, read_architecture(where))


def test_the_embedded_model_is_free():
    assert describe_license(found("portrait-tiny")) == "usable commercially: Apache-2.0"


@pytest.mark.parametrize(
    ("card", "told"),
    [
        ("---\nlicense: apache-2.0\ntags:\n- a\n---\n# A model\n", "apache-2.0"),
        ("---\nlicense: other\nlicense_name: flux-non-commercial-license\n---\n", "flux-non-commercial-license"),
        ('---\ntags: [license]\nlicense: "mit"\n---\nlicense: cc-by-nc-4.0\n', "mit"),
        ("license: mit\n", None),
        ("---\nlicense:\n---\n", None),
    ],
)
def test_a_folder_tells_it_in_its_models_card(folder, card, told):
    (folder / "README.md").write_text(card)
    assert found(folder) == told


def test_a_wide_klein_is_the_one_that_must_not_be_used_commercially(folder, tmp_path):
    assert found(folder) is None
    config = folder / "transformer" / "config.json"
    wide = json.loads(config.read_text()) | {"num_attention_heads": 32, "attention_head_dim": 128}
    config.write_text(json.dumps(wide))
    assert found(folder) == KLEIN
    for width, told in ((3072, None), (4096, KLEIN)):
        tensors = {
            "single_stream_modulation.lin.weight": torch.zeros(1, width),
            "double_stream_modulation_img.lin.weight": torch.zeros(1, 1),
        }
        save_file(tensors, tmp_path / f"{width}.safetensors")
        assert found(tmp_path / f"{width}.safetensors") == told


def test_a_published_model_is_known_by_its_id():
    where = resolve_source(ModelSettings(path="black-forest-labs/FLUX.2-klein-base-9B"))
    assert find_license(where, "flux2-klein") == KLEIN
    where = resolve_source(ModelSettings(path="black-forest-labs/FLUX.2-klein-base-4B"))
    assert find_license(where, "flux2-klein") is None


def test_the_operators_word_in_photog_json_counts_most(folder):
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    card = folder / PROFILE_FILE
    card.write_text(json.dumps(json.loads(card.read_text()) | {"license": "cc-by-nc-4.0"}))
    where = resolve_source(ModelSettings(path=str(folder)))
    assert working(where, read_architecture(where)).license == "cc-by-nc-4.0"


@pytest.mark.parametrize(
    ("license", "begins", "warned"),
    [
        (None, "not known", False),
        ("apache-2.0", "usable commercially", False),
        ("CreativeML OpenRAIL-M", "usable commercially", False),
        ("cc-by-nc-4.0", "non-commercial", True),
        ("flux-1-dev-non-commercial-license", "non-commercial", True),
        ("Qwen RESEARCH LICENSE", "non-commercial", True),
        ("stabilityai-community", "stabilityai-community: look up", False),
    ],
)
def test_what_a_license_means_is_told(license, begins, warned):
    assert describe_license(license).startswith(begins)
    assert bool(warn_of_license("a model", license)) == warned


def test_doctor_tells_it_and_answers_warn(folder):
    (folder / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n")
    settings = Settings(model=ModelSettings(path=str(folder), device="cpu"))
    assert doctor._diffusion(settings)["license"] == "non-commercial: cc-by-nc-4.0"
    model = load_model(settings.model)
    (warning,) = warn_of_license(model.name, model.working.license)
    assert "base is for non-commercial use only (cc-by-nc-4.0)" in warning


@pytest.mark.parametrize(
    ("gigabytes", "memory", "told"),
    [
        (11.0, None, "11.0 GB: fits in 12, 16, 24, 80 GB"),
        (21.2, None, "21.2 GB: fits in 24, 80 GB"),
        (52.0, 24.0, "52.0 GB: fits in 80 GB, more than the GPU has"),
        (90.0, None, "90.0 GB: fits in none of 12, 16, 24, 80 GB"),
    ],
)
def test_doctor_tells_in_which_gpus_the_plan_fits(gigabytes, memory, told):
    assert doctor._describe_peak(gigabytes, memory) == told
