"""Provenance: metadata in the portrait's file that says how it was made.

| chunk of the PNG | contents | purpose |
|---|---|---|
| iTXt `XML:com.adobe.xmp` | IPTC's source type "made by a trained model"; the model | labeling of AI pictures |
| iTXt `parameters` | JSON: version, models, knobs, seed | making the picture again |

It has no personal data: user ids, references and free text are not written. It has no times: the same request gives
the same bytes.
"""

import json
from dataclasses import dataclass, field
from xml.etree import ElementTree

from PIL.PngImagePlugin import PngInfo

from functions.generate.request import GenerateConfigure
from shared.contract.manifests import Json
from shared.contract.release import VERSION

SOFTWARE = "photog"
MADE_BY_A_MODEL = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
PERSONAL = ("user_id", "references", "sex", "additional_prompt")  # knobs that say, or may say, who is in the picture
DELIVERY = ("image_format", "another_person", "seed")  # change no pixel; the seed used is written beside the knobs
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
    """How a picture was made.

    Attributes:
        base_model: name of the base model.
        seed: the seed that was used.
        knobs: all knobs that change pixels; see `of`.
        generated: whether a face or the background was changed; an unchanged template is not an AI picture.
        enhanced_by: what did the photo enhancement; empty if there was none.
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
        """Return the provenance of one request; knobs that are personal or change no pixel are left out."""
        # only the declared fields: unknown keys may hold anything
        kept = {name: getattr(knobs, name) for name in type(knobs).model_fields if name not in (*PERSONAL, *DELIVERY)}
        return cls(base_model, seed, generated, kept, enhanced_by)

    def chunks(self) -> PngInfo:
        """Return the chunks, for Pillow's PNG writer."""
        info = PngInfo()
        info.add_itxt(XMP_CHUNK, self.xmp())
        info.add_itxt(PARAMETERS_CHUNK, json.dumps(self.parameters(), ensure_ascii=False, sort_keys=True))
        return info

    def parameters(self) -> Json:
        """Return what is needed to make the picture again from the same template and people."""
        made = {"software": SOFTWARE, "version": VERSION, "base_model": self.base_model, "seed": self.seed}
        return made | {"ai_generated": self.generated, "enhanced_by": self.enhanced_by or None, "knobs": self.knobs}

    def xmp(self) -> str:
        """Return the XMP packet.

        IPTC also has a narrower term, compositeWithTrainedAlgorithmicMedia, for a picture that a model edited in
        places. The wider term is written because readers and labeling rules look for it.
        """
        for prefix, address in NAMESPACES.items():
            ElementTree.register_namespace(prefix, address)
        root = ElementTree.Element(_name("x", "xmpmeta"))
        graph = ElementTree.SubElement(root, _name("rdf", "RDF"))
        about = ElementTree.SubElement(graph, _name("rdf", "Description"), {_name("rdf", "about"): ""})
        release = f"{SOFTWARE} {VERSION}"
        properties = {("xmp", "CreatorTool"): release}
        if self.generated:
            properties |= {
                ("Iptc4xmpExt", "DigitalSourceType"): MADE_BY_A_MODEL,
                ("Iptc4xmpExt", "AISystemUsed"): SOFTWARE,
                ("Iptc4xmpExt", "AISystemVersionUsed"): f"{VERSION}, base model {self.base_model}",
            }
        for (prefix, name), text in properties.items():
            ElementTree.SubElement(about, _name(prefix, name)).text = text
        return PACKET.format(ElementTree.tostring(root, encoding="unicode"))


def _name(prefix: str, name: str) -> str:
    return f"{{{NAMESPACES[prefix]}}}{name}"
