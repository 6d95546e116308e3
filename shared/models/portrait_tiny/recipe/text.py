"""The text part: a byte-level CLIP tokenizer that takes any text, and a CLIP text encoder of 0.5 M weights."""

import json
import tempfile
from pathlib import Path

from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from shared.models.portrait_tiny.recipe.portraits import DIRECTIONS, caption

LENGTH = 32  # tokens of a prompt
WORDS = (
    "a",
    "of",
    "with",
    "wearing",
    "glasses",
    "beard",
    "hair",
    "man",
    "woman",
    "child",
    "sks",
    "close",
    "up",
    "light",
)
END = "</w>"


def captions() -> list[str]:
    """Return every caption of the training, and last the empty one, which guidance needs."""
    return [caption(direction, smiling) for direction in range(len(DIRECTIONS)) for smiling in (False, True)] + [""]


def tokenizer() -> CLIPTokenizer:
    """Return a tokenizer with all bytes, within a word and at its end, and tokens for the captions' words and WORDS."""
    letters = _byte_letters()
    merges: list[tuple[str, str]] = []
    words = sorted({word for text in captions() for word in text.replace(",", " ").split()} | set(WORDS))
    for word in words:
        pieces = [*word[:-1], word[-1] + END]
        while len(pieces) > 1:
            if (pieces[0], pieces[1]) not in merges:
                merges.append((pieces[0], pieces[1]))
            pieces = [pieces[0] + pieces[1], *pieces[2:]]
    entries = [*letters, *(letter + END for letter in letters), *(left + right for left, right in merges)]
    vocabulary = [*dict.fromkeys(entries), "<|startoftext|>", "<|endoftext|>"]
    with tempfile.TemporaryDirectory() as folder:
        names = Path(folder) / "vocab.json", Path(folder) / "merges.txt"
        names[0].write_text(json.dumps({token: index for index, token in enumerate(vocabulary)}))
        names[1].write_text("#version: 0.2\n" + "\n".join(" ".join(pair) for pair in merges) + "\n")
        return CLIPTokenizer.from_pretrained(folder, model_max_length=LENGTH)


def encoder(tokens: CLIPTokenizer) -> CLIPTextModel:
    """Return an untrained text encoder with hidden size 128 and two layers."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokens),
            hidden_size=128,
            intermediate_size=512,
            projection_dim=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=LENGTH,
            bos_token_id=tokens.bos_token_id,
            eos_token_id=tokens.eos_token_id,
            pad_token_id=tokens.pad_token_id,
        )
    )


def _byte_letters() -> list[str]:
    """Return the characters by which byte-level BPE writes the 256 bytes.

    Printable bytes stand for themselves, the others for the code points from 256 on.
    """
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = iter(range(256, 512))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]
