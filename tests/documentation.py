"""What README.md and the other pages show: the commands of their console blocks, and what they name in the text."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.deployment import FUNCTIONS, ROOT

PAGES = [*(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "events/README.md"))]
PAGES += sorted((ROOT / "docs").glob("*.md"))
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
ASSIGNMENT = re.compile(r"[A-Z][A-Z_]*=")
KEY = re.compile(r"\s*BUCKET/")  # a picture of what lies in a bucket
COMMENT = re.compile(r"(?:^|\s)#.*")
SEPARATORS = "&;|\n"
OPTIONAL = re.compile(r"\[([^]]+)\](\.\.\.)?")
CONSOLE, OTHER = "sh", {"python", "text", "mermaid", "json"}


@dataclass(frozen=True)
class Command:
    """One command of a page.

    Attributes:
        page: its name, below the root.
        environment: the assignments in front of it.
        words: the program and its arguments, as the page has them.
    """

    page: str
    environment: tuple[tuple[str, str], ...]
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}: {' '.join(self.words)}"


def commands(page: Path) -> Iterator[Command]:
    """Yield every command in the console blocks of a page, which are fenced as `sh` or indented by four."""
    text = page.read_text()
    console = [block for language, block in FENCE.findall(text) if language == CONSOLE]
    indented = [line[4:] for line in FENCE.sub("", text).splitlines() if re.match(r"    \S", line)]
    lines = [COMMENT.sub("", line) for line in "\n".join([*console, *indented]).splitlines() if not KEY.match(line)]
    yield from _commands(page.relative_to(ROOT).as_posix(), "\n".join(lines))


def languages(page: Path) -> set[str]:
    """Return the languages of a page's fenced blocks."""
    return {language for language, _ in FENCE.findall(page.read_text())}


def python_blocks(page: Path) -> list[str]:
    """Return the fenced blocks in Python."""
    return fenced(page, "python")


def fenced(page: Path, wanted: str) -> list[str]:
    """Return the fenced blocks in a language."""
    return [block for language, block in FENCE.findall(page.read_text()) if language == wanted]


def spans(page: Path) -> list[str]:
    """Return what a page sets in code within its text."""
    return SPAN.findall(FENCE.sub("", page.read_text()))


def links(page: Path) -> list[Path]:
    """Return the files of the repository that a page links to."""
    found = (one.partition("#")[0] for one in LINK.findall(page.read_text()))
    return [page.parent / one for one in found if one and "://" not in one]


def anchors(page: Path) -> list[tuple[Path, str]]:
    """Return the headings that a page links to, in itself or in another page."""
    found = (one.partition("#") for one in LINK.findall(page.read_text()) if "#" in one and "://" not in one)
    return [(page.parent / name if name else page, anchor) for name, _, anchor in found]


def headings(page: Path) -> set[str]:
    """Return the anchors that GitHub makes from a page's headings."""
    titles = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def variants(words: tuple[str, ...]) -> list[list[str]]:
    """Return a line with `[OPTION]...` in it, once without what is optional and once with it."""
    line = shlex.join(words).replace("'", "")
    return [shlex.split(OPTIONAL.sub(what, line).replace("...", "")) for what in ("", r"\1")]


def _commands(page: str, text: str) -> Iterator[Command]:
    lexer = shlex.shlex(text, posix=True, punctuation_chars=SEPARATORS)
    lexer.whitespace_split, lexer.commenters, lexer.whitespace = True, "", " \t"
    words: list[str] = []
    for word in [*lexer, "\n"]:
        if not set(word) <= set(SEPARATORS):
            words.append(word)
            continue
        start = next((index for index, one in enumerate(words) if not ASSIGNMENT.match(one)), len(words))
        environment = tuple((name, value) for name, _, value in (one.partition("=") for one in words[:start]))
        if words:
            yield Command(page, environment, tuple(words[start:]))
        words = []


def filled(word: str, files: Path) -> str:
    """Return a word of a documented command, or what it stands for if it is a placeholder.

    Args:
        files: a folder with a bucket and pictures.
    """
    said = {
        "BUCKET": str(files / "bucket"),
        "~/.photog/bucket": str(files / "bucket"),
        "RESTORED": str(files / "bucket"),
        "FUNCTION": FUNCTIONS[0],
        "PHOTO": str(files / "photo.jpg"),
        "photo.jpg": str(files / "photo.jpg"),
        "me/*.jpg": str(files / "photo.jpg"),
        "poster.jpg": str(files / "photo.jpg"),
        "portrait.png": str(files / "portrait.png"),
        "FILE": str(files / "photo.jpg"),
        "MANIFEST": str(files / "manifest.json"),
        "EVENT": str(files / "event.json"),
        "REQUEST_ID": "r1",
        "USER": "ann",
        "NAME": "ann",
        "KEY": "photos/a.jpg",
        "PERSON": "ann",
        "ID": "ann",
        "KNOB=VALUE": "more_like_me=1.0",
    }
    return said.get(word, word)
