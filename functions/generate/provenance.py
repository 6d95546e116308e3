"""Provenance: what a portrait says of itself, inside of its file.

| chunk of the PNG | what it holds | for |
|---|---|---|
| iTXt `XML:com.adobe.xmp` | IPTC's digital source type: made by a trained model; which | readers that label AI |
| iTXt `parameters` | JSON: version, models, knobs, seed | whoever wants to make the picture again |

No personal data: neither ids nor references nor free words are written. No times either: the same request gives the
same bytes.
"""

import json
from dataclasses import dataclass, field
from importlib.metadata import version
from xml.etree import ElementTree

from PIL.PngImagePlugin import PngInfo

from functions.generate.request import GenerateConfigure
from shared.contract.manifests import Json

SOFTWARE = "photog"
MADE_BY_A_MODEL = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
PERSONAL = ("user_id", "sex", "additional_prompt")  # says, or may say, who is shown
DELIVERY = ("image_format", "seed")  # the first changes no pixel; the seed that was used stands beside the knobs
XMP_CHUNK, PARAMETERS_CHUNK = "XML:com.adobe.xmp", "parameters"
NAMESPACES = {
    "x": "adobe:ns:meta/",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
}
PACKET = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n{}\n<?xpacket end="r"?>'  # XMP specification, part 1
)


@dataclass(frozen=True)
class Provenance:
    """What made a picture.

    Attributes:
        base_model: name of the diffusion model.
        seed: that was used.
        knobs: all that change pixels; see `of`.
        generated: whether a face or the background was made here; a template that came back as it was is no AI picture.
        enhanced_by: what `photo_enhancement_bool` was done with; empty for nothing.
    """

    base_model: str
    seed: int
    generated: bool
    knobs: Json = field(default_factory=dict)
    enhanced_by: str = ""

    @classmethod
    def of(
        cls, knobs: GenerateConfigure, seed: int, base_model: str, generated: bool, enhanced_by: str = ""
    ) -> "Provenance":
        """Of one request."""
        # the model's own fields alone: keys that nobody knows may hold anything
        kept = {name: getattr(knobs, name) for name in type(knobs).model_fields if name not in (*PERSONAL, *DELIVERY)}
        return cls(base_model, seed, generated, kept, enhanced_by)

    def chunks(self) -> PngInfo:
        """The chunks, for Pillow's PNG writer."""
        info = PngInfo()
        info.add_itxt(XMP_CHUNK, self.xmp())
        info.add_itxt(PARAMETERS_CHUNK, json.dumps(self.parameters(), ensure_ascii=False, sort_keys=True))
        return info

    def parameters(self) -> Json:
        """What would make the picture again from the same template and people."""
        made = {"software": SOFTWARE, "version": version(SOFTWARE), "base_model": self.base_model, "seed": self.seed}
        return made | {"ai_generated": self.generated, "enhanced_by": self.enhanced_by or None, "knobs": self.knobs}

    def xmp(self) -> str:
        """The XMP packet.

        IPTC has a narrower term too, compositeWithTrainedAlgorithmicMedia, for a picture that a model edited in
        places; the wider one is written because readers and labeling rules look for it.
        """
        for prefix, address in NAMESPACES.items():
            ElementTree.register_namespace(prefix, address)
        root = ElementTree.Element(_name("x", "xmpmeta"))
        graph = ElementTree.SubElement(root, _name("rdf", "RDF"))
        about = ElementTree.SubElement(graph, _name("rdf", "Description"), {_name("rdf", "about"): ""})
        release = f"{SOFTWARE} {version(SOFTWARE)}"
        said = {("xmp", "CreatorTool"): release}
        if self.generated:
            said |= {
                ("Iptc4xmpExt", "DigitalSourceType"): MADE_BY_A_MODEL,
                ("Iptc4xmpExt", "AISystemUsed"): SOFTWARE,
                ("Iptc4xmpExt", "AISystemVersionUsed"): f"{version(SOFTWARE)}, base model {self.base_model}",
            }
        for (prefix, name), text in said.items():
            ElementTree.SubElement(about, _name(prefix, name)).text = text
        return PACKET.format(ElementTree.tostring(root, encoding="unicode"))


def _name(prefix: str, name: str) -> str:
    return f"{{{NAMESPACES[prefix]}}}{name}"
