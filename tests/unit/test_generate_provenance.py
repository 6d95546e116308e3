"""What a portrait's file says of itself, read by Pillow and an XML parser."""

import json
from io import BytesIO
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageCms

from functions.generate import output
from functions.generate.provenance import MADE_BY_A_MODEL, NAMESPACES, Provenance
from functions.generate.request import GenerateConfigure
from shared.photos import decode_photo
from shared.settings import Limits
from tests import pictures

KNOBS = GenerateConfigure.model_validate(
    {
        "user_id": ["ann-of-green-gables", "none"],
        "sex": "female-secret",
        "additional_prompt": "looks like Bob Smith",
        "makeup_transfer": True,
        "phone": "0123-456",
    }
)


def written(provenance=None, icc=None):
    return output.encode_png(pictures.astronaut(), provenance, icc)


def made(**changes):
    given = {"seed": 77, "base_model": 'tiny <&> "one"', "generated": True} | changes
    return Provenance.of(KNOBS, **given)


def opened(data):
    picture = Pillow.open(BytesIO(data))
    picture.load()
    return picture


def described(data):
    """The rdf:Description of the file's XMP."""
    root = ElementTree.fromstring(opened(data).text["XML:com.adobe.xmp"])
    assert root.tag == f"{{{NAMESPACES['x']}}}xmpmeta"
    found = root.find("rdf:RDF/rdf:Description", NAMESPACES)
    assert found is not None
    return found


def test_the_pixels_are_lossless():
    assert np.array_equal(np.asarray(opened(written(made()))), pictures.astronaut())


def test_it_says_that_a_model_made_it():
    about = described(written(made()))
    assert about.findtext("Iptc4xmpExt:DigitalSourceType", namespaces=NAMESPACES) == MADE_BY_A_MODEL
    assert 'tiny <&> "one"' in about.findtext("Iptc4xmpExt:AISystemVersionUsed", namespaces=NAMESPACES)
    assert about.findtext("xmp:CreatorTool", namespaces=NAMESPACES).startswith("photog ")


def test_pillow_finds_the_packet_as_xmp():
    assert MADE_BY_A_MODEL.encode() in opened(written(made())).info["xmp"]


def test_a_template_that_came_back_as_it_was_is_not_called_made_by_a_model():
    assert described(written(made(generated=False))).find("Iptc4xmpExt:DigitalSourceType", NAMESPACES) is None


def test_the_parameters_are_json_with_settings_and_seed():
    parameters = json.loads(opened(written(made(enhanced_by="GFPGAN"))).text["parameters"])
    assert parameters["software"] == "photog"
    assert parameters["seed"] == 77
    assert parameters["base_model"] == 'tiny <&> "one"'
    assert parameters["ai_generated"] is True
    assert parameters["enhanced_by"] == "GFPGAN"
    assert parameters["knobs"]["makeup_transfer"] is True
    assert parameters["knobs"]["first_diffusion_steps"] == 50


@pytest.mark.parametrize("personal", [b"ann", b"female", b"Bob", b"0123", b"user_id", b"sex", b"prompt"])
def test_nothing_personal_is_inside(personal):
    text = "".join(opened(written(made())).text.values()).encode()
    assert personal not in text.replace(b"PromptInformation", b"")


def test_the_same_portrait_has_the_same_bytes():
    assert written(made()) == written(made())


class TestColorProfiles:
    @pytest.fixture(scope="class")
    def profile(self):
        """One for all comparisons: it carries the second in which it was made."""
        return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

    def template(self, mode, icc):
        file = BytesIO()
        Pillow.fromarray(pictures.astronaut()).convert(mode).save(file, "JPEG", icc_profile=icc)
        return decode_photo(file.getvalue(), Limits())

    def test_the_templates_is_kept(self, profile):
        template = self.template("RGB", profile)
        assert template.icc == profile
        assert opened(written(made(), template.icc)).info["icc_profile"] == profile

    def test_none_stays_none(self):
        assert self.template("RGB", None).icc is None
        assert "icc_profile" not in opened(written(made())).info

    @pytest.mark.parametrize("space", [b"CMYK", b"GRAY"])
    def test_one_of_another_color_space_is_left_out(self, profile, space):
        assert self.template("RGB", profile[:16] + space + profile[20:]).icc is None

    def test_broken_ones_are_left_out(self, profile):
        assert self.template("RGB", b"no profile" * 20).icc is None
        assert self.template("RGB", profile[:60]).icc is None
