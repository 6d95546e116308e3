"""`photog VERB --help` prints the whole help text of every verb, however narrow the terminal."""

import re
import subprocess
import sys

import pytest
from typer.core import TyperGroup
from typer.main import get_group
from typer.testing import CliRunner

from shared.cli import app
from shared.cli.completion import complete_knobs
from tests.deployment import ROOT

GROUP = get_group(app)
CONTEXT = GROUP.make_context("photog", ["doctor"])
VERBS = GROUP.list_commands(CONTEXT)
NESTED = [
    (verb, below)
    for verb in VERBS
    if isinstance(group := GROUP.get_command(CONTEXT, verb), TyperGroup)
    for below in group.commands
]


def squeezed(text: str) -> str:
    """Return the text without white space, since lines are wrapped to fit a terminal, and without marks of examples."""
    return re.sub(r"[\s\b]+", "", text)


def shown(*words: str, columns: int = 80) -> str:
    done = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": str(columns), "TERMINAL_WIDTH": str(columns)})
    assert done.exit_code == 0, done.output
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done.stdout


@pytest.mark.parametrize("columns", [30, 80, 200])
@pytest.mark.parametrize("words", [*((verb,) for verb in VERBS), *NESTED], ids=" ".join)
def test_every_verb_prints_its_help_as_it_was_written(words, columns):
    text = squeezed(shown(*words, columns=columns))
    command = GROUP.get_command(CONTEXT, words[0])
    for below in words[1:]:
        command = command.commands[below]
    assert command.help
    assert squeezed(command.help) in text
    for parameter in command.params:
        assert squeezed(parameter.help) in text, parameter.name
        for name in parameter.opts:
            assert name in text or parameter.param_type_name == "argument"


def test_verbs_of_extensions_are_among_them():
    assert {"up", "worker", "serve", "dead-letters"} <= set(VERBS)
    assert len(VERBS) >= 18


@pytest.mark.parametrize("columns", [30, 80, 200])
def test_the_overview_lists_every_verb(columns):
    assert set(VERBS) <= set(shown(columns=columns).split())


def test_what_looks_like_markup_in_a_wrong_command_is_repeated_as_it_is():
    done = CliRunner().invoke(app, ["[/PREFIX]"])
    assert done.exit_code == 2
    assert "[/PREFIX]" in done.stderr
    done = CliRunner().invoke(app, ["health", "--[/red]"])
    assert done.exit_code == 2
    assert "[/red]" in done.stderr


def test_the_program_itself_prints_help():
    done = subprocess.run(
        [sys.executable, "-m", "shared.cli", "worker", "--help"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "s3://NAME[/PREFIX]" in done.stdout


def complete(*words: str) -> set[str]:
    """Return what the shell is offered for the last word."""
    asked = {
        "_PHOTOG_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(("photog", *words)),
        "COMP_CWORD": str(len(words)),
    }
    done = CliRunner().invoke(app, [], prog_name="photog", env=asked)
    return set(done.stdout.split())


def test_the_shell_completes_verbs_functions_knobs_and_their_values():
    assert {"portrait", "people"} <= complete("p")
    assert complete("worker", "tr") == {"train"}
    assert complete("portrait", "--set", "more_like_me") == {"more_like_me=", "more_like_me_before="}
    assert complete_knobs("mask_region=") == ["mask_region=edge", "mask_region=face"]
    assert complete_knobs("mask_region=f") == ["mask_region=face"]
    assert complete_knobs("skin_retouching_bool=t") == ["skin_retouching_bool=true"]


@pytest.mark.parametrize("words", [*((verb,) for verb in VERBS), *NESTED], ids=" ".join)
def test_the_overview_says_what_a_verb_does_in_one_whole_line_and_each_has_an_example(words):
    command = GROUP.get_command(CONTEXT, words[0])
    for below in words[1:]:
        command = command.commands[below]
    assert command.get_short_help_str(60) == command.help.splitlines()[0].removesuffix(".") + "."
    assert f"photog {' '.join(words)} " in command.help or f"photog {' '.join(words)}\n" in command.help + "\n"
