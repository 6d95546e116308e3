"""The experience of a user who has read only the README: mistakes are reported at once, and answers are explained."""

import io
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from shared.buckets import BucketError, FolderBucket, aws_clients
from shared.cli import app, beforehand, console, environment, extensions, progress
from shared.cli.durations import EMBEDDED, Durations
from shared.cli.likeness import meaning
from shared.cli.pictures import Pictures, files_of
from shared.cli.progress import Part, ProgressLine, in_words
from shared.cli.requests import describe_training, verdicts
from shared.cli.sheet import NARROWEST, VACANT, draw_grid
from shared.contract import keys
from shared.contract.function import NAMES
from shared.contract.manifests import Json
from shared.faces import dlib, mesh
from shared.operations.client import Client
from shared.runtime import supervisor
from shared.runtime.request_models import request_model
from shared.runtime.supervisor import Supervisor
from shared.runtime.threads import threading_environment
from shared.runtime.worker import READY
from shared.settings import FaceSettings, ModelSettings, Settings
from tests.clock import Clock
from tests.serving import Served

READING = [
    ("status",), ("status", "r1"), ("forget", "ann"), ("sweep",), ("doctor",), ("dead-letters", "check"),
    ("invoke", "check", "event.json"), ("check", "me/a.jpg"), ("train", "me/a.jpg", "--user", "ann"),
    ("generate", "--template", "poster.jpg", "--user", "ann"),
]  # fmt: skip


def photog(*arguments: object, **environment: str) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)], env=environment)


def dot(shade: int) -> bytes:
    """Return a picture of one pixel."""
    file = io.BytesIO()
    Image.new("L", (1, 1), shade).save(file, "PNG")
    return file.getvalue()


def in_order(verb: tuple[str, ...], bucket: object) -> list[object]:
    """Return the arguments of a verb with the bucket in its place."""
    function = verb[1:2] if verb[0] in ("dead-letters", "invoke") else ()
    return [verb[0], *function, bucket, *verb[1 + len(function) :]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    """A current directory with six photos and a template, which nothing reads."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PHOTOG_HOME", str(tmp_path / "home"))
    (tmp_path / "me").mkdir()
    for shade, name in enumerate(("b.jpg", "a.jpg", "C.JPG", "d.png", "e.jpeg", "f.webp")):
        (tmp_path / "me" / name).write_bytes(dot(shade))
    (tmp_path / "me" / "notes.txt").write_text("no picture")
    (tmp_path / "me" / ".hidden.jpg").write_bytes(b"x")
    (tmp_path / "poster.jpg").write_bytes(dot(100))
    (tmp_path / "event.json").write_text('{"Records": []}')
    return tmp_path


@pytest.fixture
def answered(monkeypatch):
    """Workers that answer at once with this data; their requests are appended to the list."""

    def make(data: Json, code: str = "OK", message: str = "success") -> list[Json]:
        asked: list[Json] = []

        def wait(client, function, request_id, on_progress=None, timeout_seconds=0.0):
            asked.append(json.loads(client.bucket.get(keys.request(function, request_id))))
            return {"request_id": request_id, "code": code, "message": message, "data": data}

        monkeypatch.setattr(Client, "wait", wait)
        return asked

    return make


@pytest.fixture
def no_workers(monkeypatch):
    """Fail if anything starts."""

    def start(*arguments: object) -> None:
        raise AssertionError("workers were started")

    monkeypatch.setattr("shared.cli.own_workers.Supervisor", start)


def verdict(code: int, *warnings: str) -> Json:
    return {"url": "photos/x.jpg", "code": code, "message": f"code {code}", "frontal": code == 1, "warnings": warnings}


@pytest.mark.parametrize("verb", READING)
def test_a_verb_that_looks_never_makes_a_bucket_and_names_the_one_that_is_meant(verb, folder):
    (folder / "mybucket").mkdir()
    done = photog(*in_order(verb, "mybuckte"))
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == "photog: there is no bucket mybuckte; did you mean mybucket?\n"
    assert not (folder / "mybuckte").exists()


def test_where_nothing_was_kept_yet_it_is_said_what_to_do_first(folder, no_workers):
    assert photog("check", "nowhere", "me/a.jpg").stderr == (
        "photog: there is no bucket nowhere; `photog up nowhere` makes it, and starts the workers\n"
    )
    done = photog("portrait", "--template", "poster.jpg", "--user", "ann")
    assert (done.exit_code, done.stderr) == (
        2, "photog: nobody is known yet, as this is the first portrait here: name photos of the person\n",
    )  # fmt: skip
    done = photog("people")
    assert (done.exit_code, done.stderr) == (0, "photog: nobody is known yet; `photog people add NAME PHOTO...`\n")
    assert not (folder / "home").exists()


def test_a_verb_that_puts_something_in_says_that_it_has_made_the_bucket(folder):
    (folder / "m.json").write_text('{"request_id": "r", "images": ["x.jpg"]}')
    done = photog("submit", "check", "new", "m.json")
    assert (done.exit_code, done.stderr) == (0, f"photog: made the folder {folder / 'new'}, which did not exist\n")
    assert photog("submit", "check", "new", "m.json").stderr == ""
    made = photog("submit", "check", folder / "nwe", "m.json").stderr
    assert made == f"photog: made the folder {folder / 'nwe'}, which did not exist; did you mean {folder / 'new'}?\n"


def test_the_page_makes_no_folder_whose_parent_is_missing(folder):
    pytest.importorskip("nicegui")
    done = photog("page", "nowhere/bucket")
    assert (done.exit_code, done.stderr) == (
        2, "photog: there is no bucket nowhere/bucket, and no folder nowhere in which to make it\n",
    )  # fmt: skip
    assert not (folder / "nowhere").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["me", "--template", "postr.jpg"], "there is no file postr.jpg; did you mean poster.jpg?"),
        (["me/a.jpeg", "--template", "poster.jpg"], "there is no file me/a.jpeg; did you mean me/"),
        (["me/unlike.png", "--template", "poster.jpg"], "there is no file me/unlike.png\n"),
        (["me", "--template", "me/notes.txt"], "me/notes.txt: "),
        (["me", "--template", "me/nothing*.jpg"], "no file matches me/nothing*.jpg; in me are C.JPG, a.jpg, b.j"),
        (["me", "--template", "posters/*.jpg"], "no file matches posters/*.jpg: there is no folder posters"),
        (["me", "--template", "me", "--out", "all.png"], "--out all.png: 6 portraits need a folder"),
        (["me", "--template", "me", "--sheet", "all.png"], "--sheet shows the stages of one portrait: use --grid"),
        (["me", "--template", "me", "--count", "50"], "6 templates x 50 are 300 portraits; 100 at once"),
        (["me", "--template", "poster.jpg", "--count", "2", "--set", "seed=3"], "leave out --set seed, or --count"),
        (["me/a.jpg"] * 5 + ["--template", "poster.jpg", "--train"], "5 photos, but only 1 different ones; give 5"),
        (["me", "--template", "poster.jpg", "--set", "more_like_mee=1"],
         "generate has no knob more_like_mee; did you mean more_like_me?"),
        (["me", "--template", "poster.jpg", "--set", "more_like_me=5"],
         "more_like_me: Input should be less than or equal to 1; given was 5"),
        (["me", "--template", "poster.jpg", "--set", "mask_region=fce"], "mask_region: Input should be 'edge'"),
        (["me", "--template", "poster.jpg", "--set", "seed"], "--set seed: write KNOB=VALUE"),
        (["me", "--template", "poster.jpg", "--train", "--steps", "0"], "--steps: a training has 1 step or more"),
        (["me", "--template", "poster.jpg", "--steps", "9"], "--steps is for a training: add --train"),
        (["me", "--template", "poster.jpg", "--train", "--steps", "20000"], "--steps: Input should be less than or"),
        (["me/a.jpg", "--template", "poster.jpg", "--train"], "1 photos; give 5 to 20 of one person"),
        (["me/a.jpg"] * 21 + ["--template", "poster.jpg"], "21 photos; give 1 to 20 of one person"),
        (["--template", "poster.jpg"], "name photos of the person, or a person who is known already with --user"),
        (["--template", "poster.jpg", "--user", "ann", "--train"], "a training needs photos: name them"),
        (["--template", "poster.jpg", "--user", "a/b"], "'a/b' is not a user id"),
        (["--template", "poster.jpg", "--user", "Jürgen Müller"], "; jurgen-muller, for example"),
        (["me", "--template", "poster.jpg", "--out", "me"], "me is a folder; name a file"),
        (["me", "--template", "poster.jpg", "--out", "poster.jpg/p.png"], "poster.jpg is not a folder"),
        (["me", "--template", "poster.jpg", "--sheet", "s.xyz"], "s.xyz has no suffix of a picture; use .png"),
    ],
)  # fmt: skip
def test_what_portrait_can_know_is_said_before_anything_starts(words, told, folder, no_workers):
    done = photog("portrait", *words, "--bucket", "b")
    assert done.exit_code == 2
    assert told in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (folder / "b").exists()


@pytest.fixture
def workers(monkeypatch):
    """Record which functions get workers of the command's own; none is started."""
    started: list[str] = []

    class Pretended:
        def __init__(self, address, functions, drain_seconds, environment, start):
            started.extend(functions)

        def __enter__(self):
            return self

        def __exit__(self, *exception):
            """Nothing runs."""

        def check(self):
            """Nothing dies."""

        def ready(self):
            return True

        def leave(self, ending):
            """Nothing runs."""

        def drain(self):
            """Nothing runs."""

        def hand_back(self):
            """Nothing runs."""

    monkeypatch.setattr("shared.cli.own_workers.Supervisor", Pretended)
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)
    return started


MADE = {
    "check_results": [verdict(1), verdict(3, "two faces")], "faces": [], "image_key": "photos/p.png", "warnings": [],
    "user_id": "ann", "cost_time": 1.0, "steps": 0, "images_used": 2, "best_step": 4, "similarity": 0.5, "lora": "l",
}  # fmt: skip


class TestPortraitsWithoutATraining:
    """On the embedded base model a portrait needs none, and the command says so."""

    @pytest.fixture
    def bucket(self, folder):
        made = FolderBucket(folder / "b")
        made.put("photos/p.png", b"picture")
        return made

    def test_the_embedded_base_model_needs_none_and_the_command_says_so(self, bucket, answered, workers):
        asked = answered(MADE)
        done = photog("portrait", "me/a.jpg", "me/b.jpg", "--template", "poster.jpg", "--bucket", "b")
        assert done.exit_code == 0
        assert "photog: no training needed on portrait-tiny; `--train` does it anyway\n" in done.stderr
        assert workers == ["check", "generate"]
        check, generate = asked
        assert generate["configure"]["references"] == ["photos/x.jpg"], "the one that is usable"
        user = generate["configure"]["user_id"]
        assert user.startswith("person-")
        assert (
            f"photog: photos of {user} stay in {bucket.address}; `photog forget {bucket.address} {user}`" in done.stderr
        )
        assert check["configure"] == {"face_reconize": True, "user_id": user}
        assert Path("portrait.png").read_bytes() == b"picture"

    @pytest.mark.parametrize(
        ("words", "environment"),
        [
            (["--train", "--steps", "8"], {}),
            (["--steps", "8"], {"PHOTOG_MODEL__PATH": "another"}),
        ],
    )
    def test_a_training_is_made_where_it_is_wanted_or_the_base_model_is_another(
        self, bucket, answered, workers, monkeypatch, words, environment
    ):
        monkeypatch.setattr("shared.cli.portrait.require_installed", lambda settings: None)
        asked = answered(MADE | {"steps": 8, "check_results": [verdict(1)] * 5})
        done = photog("portrait", "me", "--template", "poster.jpg", "--bucket", "b", *words, **environment)
        assert done.exit_code == 0
        assert "no training needed" not in done.stderr
        assert workers == ["check", "train", "generate"]
        _, train, generate = asked
        assert train["configure"]["max_train_steps"] == 8
        assert "references" not in generate["configure"]
        assert generate["configure"]["user_id"] == train["configure"]["user_id"]
        assert "photos and LoRA of" in done.stderr

    def test_another_base_model_goes_without_where_it_is_asked_to(self, bucket, answered, workers, monkeypatch):
        monkeypatch.setattr("shared.cli.portrait.require_installed", lambda settings: None)
        answered(MADE)
        words = ("portrait", "me/a.jpg", "--template", "poster.jpg", "--bucket", "b", "--no-train")
        assert photog(*words, PHOTOG_MODEL__PATH="another").exit_code == 0
        assert workers == ["check", "generate"]

    def test_who_is_known_needs_no_photos(self, bucket, answered, workers):
        bucket.put(keys.model("ann"), b"{}")
        asked = answered(MADE)
        done = photog("portrait", "--template", "poster.jpg", "--user", "ann", "--bucket", "b")
        assert (done.exit_code, workers) == (0, ["generate"])
        (generate,) = asked
        assert generate["configure"]["user_id"] == "ann"
        assert "references" not in generate["configure"]

    def test_who_is_not_known_is_told_before_anything_starts_with_who_may_be_meant(self, bucket, no_workers):
        bucket.put(keys.model("ann"), b"{}")
        done = photog("portrait", "--template", "poster.jpg", "--user", "anne", "--bucket", "b")
        assert done.exit_code == 2
        assert done.stderr == (f"photog: nobody called anne is known in {bucket.address}; did you mean ann?\n")

    def test_of_somebody_whose_training_waits_it_is_said_that_it_waits(self, bucket, no_workers):
        client = Client(bucket)
        bucket.put("users/eileen/photos/1.jpg", b"x")
        request_id = client.submit_named(
            "train", {"images": ["users/eileen/photos/1.jpg"], "configure": {"user_id": "eileen"}}
        )
        client.submit(
            "generate",
            {
                "request_id": "g1",
                "template_image": "t",
                "configure": {"user_id": ["max", "none"], "references": [["a.jpg"], []]},
            },
        )
        client.submit("generate", {"request_id": "g2", "template_image": "t", "configure": {"user_id": "kim"}})
        bucket.put(keys.request("train", "broken"), b"{")
        up = f"`photog up {bucket.address}` starts workers"
        for words in (("portrait", "--bucket", "b"), ("generate", "b")):
            done = photog(*words, "--template", "poster.jpg", "--user", "eileen")
            assert done.exit_code == 2
            assert done.stderr == (
                f"photog: eileen is not known yet in {bucket.address}: the training {request_id} of them waits for a "
                f"worker; {up}, which answer it\n"
            )
        listed = photog("people", "--bucket", "b")
        assert [line.split()[0] for line in listed.stdout.splitlines()] == ["eileen", "max"]
        assert f"1 photo  not known yet: the training {request_id} of them waits for a worker" in listed.stdout
        assert listed.stderr == f"photog: nobody is known yet in {bucket.address}; {up}\n"
        told = json.loads(photog("people", "--bucket", "b", "--json").stdout)["pending"]
        assert [(one["user_id"], one["function"], one["state"]) for one in told] == [
            ("eileen", "train", "waiting"), ("max", "generate", "waiting"),
        ]  # fmt: skip
        bucket.put(keys.result("train", request_id), b'{"code": "error"}')
        assert (
            "nobody called eileen is known"
            in photog("portrait", "--template", "poster.jpg", "--user", "eileen", "--bucket", "b").stderr
        )

    def test_where_no_photo_is_usable_no_portrait_is_asked_for(self, bucket, answered, workers):
        asked = answered(MADE | {"check_results": [verdict(3, "cut off"), verdict(3, "two faces")]})
        done = photog("portrait", "me/a.jpg", "me/b.jpg", "--template", "poster.jpg", "--bucket", "b")
        assert (done.exit_code, len(asked)) == (1, 1)
        assert "two faces" in done.stdout
        assert "photog: none of the photos can be used; each line above says why\n" in done.stderr

    def test_a_portrait_that_is_interrupted_is_withdrawn_unless_the_same_call_would_ask_for_it(
        self, bucket, workers, monkeypatch
    ):
        def interrupt(*arguments: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(Client, "wait", interrupt)
        bucket.put(keys.model("ann"), b"{}")
        words = ("portrait", "--template", "poster.jpg", "--user", "ann", "--bucket", "b")
        done = photog(*words)
        assert done.exit_code == 130
        assert "the same command continues from there" in done.stderr
        assert list(bucket.list(keys.requests("generate"))) == []
        assert photog(*words, "--set", "seed=7").exit_code == 130
        assert len(list(bucket.list(keys.requests("generate")))) == 1

    def test_a_refused_template_is_asked_for_once_and_told_once_and_a_busy_moment_is_not_final(
        self, bucket, answered, workers
    ):
        bucket.put(keys.model("ann"), b"{}")
        words = ("portrait", "--template", "poster.jpg", "--user", "ann", "--bucket", "b", "--count", "3")
        error = {"type": "NoFaceInTemplate", "retryable": False}
        asked = answered({"cost_time": 1.0, "error": error}, "error", "poster.jpg shows no face")
        done = photog(*words)
        assert (done.exit_code, len(asked)) == (1, 1)
        assert done.stderr.count("poster.jpg shows no face") == 1
        asked = answered({"cost_time": 1.0, "error": error | {"retryable": True}}, "error", "out of memory")
        done = photog(*words)
        assert (len(asked), done.stderr.count("out of memory")) == (3, 1)

    def test_photos_of_somebody_else_stop_the_command_unless_they_are_to_replace_the_person(
        self, bucket, answered, workers, monkeypatch
    ):
        message = (
            "these photos show somebody else than the ann who is known (likeness 0.1 of at least 0.5): choose another "
            'user_id, or send configure.another_person "replace" to give ann up for them'
        )
        error = {"type": "AnotherPerson", "retryable": False}
        told, asked = {"cost_time": 1.0, "error": error}, answered(MADE)
        sure = Client.wait

        def refuse(client, function, request_id, on_progress=None, timeout_seconds=0.0):
            found = sure(client, function, request_id)
            return found if function == "check" else found | {"code": "error", "message": message, "data": told}

        monkeypatch.setattr(Client, "wait", refuse)
        words = ("portrait", "me/a.jpg", "--user", "ann", "--template", "me", "--bucket", "b", "--count", "2")
        done = photog(*words)
        assert (done.exit_code, len(asked)) == (1, 2), "a check, and one portrait of twelve"
        assert asked[1]["configure"]["another_person"] == "refuse"
        assert done.stderr.count("somebody else than the ann who is known") == 1
        assert "choose another name, or add --replace-person to give ann up for them" in done.stderr
        monkeypatch.setattr(Client, "wait", sure)
        assert photog(*words, "--replace-person").exit_code == 0
        assert {one["configure"]["another_person"] for one in asked[3:] if "references" in one["configure"]} == {
            "replace"
        }

    def test_nothing_that_nobody_has_named_is_overwritten(self, bucket, folder, answered, workers):
        bucket.put(keys.model("ann"), b"{}")
        answered(MADE)
        words = ("portrait", "--template", "poster.jpg", "--user", "ann", "--bucket", "b")
        for expected in ("portrait.png", "portrait-2.png"):
            assert photog(*words).stdout.startswith(expected)
        assert photog(*words, "--out", "portrait.png").stdout.startswith("portrait.png")
        for expected in ("portraits/", "portraits-2/"):
            assert photog(*words, "--count", "2").stdout.startswith(expected)

    def test_photos_of_two_people_stop_the_command_and_one_that_strayed_does_not(self, bucket, answered, workers):
        mixed = [verdict(1)] * 4 + [verdict(6)] * 2
        asked = answered(MADE | {"check_results": mixed})
        done = photog("portrait", "me", "--template", "poster.jpg", "--bucket", "b")
        assert (done.exit_code, len(asked)) == (1, 1)
        assert "2 of the 6 good photos show somebody else than the others: me/e.jpeg, me/f.webp; name" in done.stderr
        asked = answered(MADE | {"check_results": [*mixed[:4], verdict(1), verdict(6)]})
        done = photog("portrait", "me", "--template", "poster.jpg", "--bucket", "b")
        assert (done.exit_code, len(asked)) == (0, 2)

    def test_what_the_same_command_does_after_an_interruption_is_said(self, bucket, workers, monkeypatch):
        def interrupt(*arguments: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(Client, "wait", interrupt)
        bucket.put(keys.model("ann"), b"{}")
        words = ("portrait", "--template", "poster.jpg", "--user", "ann", "--bucket", "b")
        assert "continues from there, with another seed for its portrait" in photog(*words).stderr
        told = photog(*words, "--count", "3").stderr
        assert "finished portraits in portraits; if you give the same command again" in told
        assert "all portraits are made anew with other seeds" in told
        assert "with another seed" not in photog(*words, "--set", "seed=7").stderr

    def test_the_similarity_is_explained_whole_once_and_then_in_short(self, bucket, answered, workers):
        bucket.put(keys.model("ann"), b"{}")
        answered(MADE | {"faces": [{"user_id": "ann", "similarity": {"before": 0.2, "after": 0.6}}]})
        words = ("portrait", "--template", "poster.jpg", "--user", "ann", "--bucket", "b")
        first, second = photog(*words).stderr, photog(*words).stderr
        assert "dlib's author" in first
        assert "dlib's author" not in second
        assert "similarity by mesh: 0.5 and more is the same person; --set more_like_me=1.0" in second

    def test_an_error_is_told_in_the_words_of_the_command_line(self, bucket, answered, workers):
        bucket.put(keys.model("ann"), b"{}")
        message = (
            "the template poster.jpg shows 3 faces, but the request has 1 user_id: give one per face from left to "
            "right, and the user_id 'none' for a face that stays as it is"
        )
        answered({"cost_time": 1.0}, "error", message)
        done = photog("portrait", "--template", "poster.jpg", "--user", "ann", "--bucket", "b")
        assert done.exit_code == 1
        assert done.stderr.splitlines()[-1] == (
            "photog: the template poster.jpg shows 3 faces, but one person is named: with `photog generate`, give "
            "--user once per face from left to right, and `--user none` for a face that stays as it is"
        )
        assert "stay in" not in done.stderr, "nothing new is kept"

    def test_a_training_with_too_few_usable_photos_is_not_asked_for(self, bucket, answered, workers):
        asked = answered(MADE)
        done = photog("portrait", "me", "--template", "poster.jpg", "--bucket", "b", "--train")
        assert (done.exit_code, len(asked)) == (1, 1)
        assert "photog: 1 of 6 photos can be used, and a training needs 5" in done.stderr
        assert "photos of person-" in done.stderr
        assert "LoRA" not in done.stderr, "none was made"

    def test_what_is_no_picture_is_left_out_and_told(self, bucket, answered, workers):
        asked = answered(MADE)
        done = photog("portrait", "me/a.jpg", "me/notes.txt", "--template", "poster.jpg", "--bucket", "b")
        assert "photog: warning: me/notes.txt is left out: " in done.stderr
        assert len(asked[0]["images"]) == 1

    def test_several_templates_and_seeds_are_so_many_portraits_in_a_folder_and_on_a_grid(
        self, bucket, folder, answered, workers
    ):
        bucket.put("photos/p.png", dot(7))
        bucket.put(keys.model("ann"), b"{}")
        asked = answered(MADE)
        words = ("portrait", "--user", "ann", "--template", "me", "--template", "poster.jpg", "--count", "2", "--grid")
        done = photog(*words, "all.png", "--bucket", "b")
        assert done.exit_code == 0, done.output
        assert len(asked) == 14
        assert len({one["configure"]["seed"] for one in asked}) == 2
        assert {one["template_image"] for one in asked} == {info.key for info in bucket.list(keys.user_photos("ann"))}
        made = sorted(path.name for path in (folder / "portraits").iterdir())
        assert made[:2] == ["C-1.png", "C-2.png"]
        assert len(made) == 14
        assert Image.open("all.png").width == 3 * 420 + 2 * 8 + 2 * 16, "a template and two portraits, all square"
        assert done.stdout.splitlines()[-1] == "all.png"

    def test_two_templates_of_one_name_have_files_of_their_own(self, bucket, folder, answered, workers):
        (folder / "you").mkdir()
        (folder / "you" / "a.jpg").write_bytes(dot(50))
        bucket.put(keys.model("ann"), b"{}")
        answered(MADE)
        words = ("--template", "me/a.jpg", "--template", "you/a.jpg", "--out", "here")
        assert photog("portrait", "--user", "ann", *words, "--bucket", "b").exit_code == 0
        assert sorted(path.name for path in (folder / "here").iterdir()) == ["a.png", "a~2.png"]

    def test_portraits_without_a_seed_differ_and_the_seed_is_told(self, bucket, answered, workers):
        bucket.put(keys.model("ann"), b"{}")
        asked = answered(MADE)
        words = ("portrait", "--template", "poster.jpg", "--user", "ann", "--bucket", "b")
        told = [photog(*words).stdout, photog(*words).stdout, photog(*words, "--set", "seed=7").stdout]
        seeds = [one["configure"]["seed"] for one in asked]
        assert seeds[0] != seeds[1]
        assert seeds[2] == 7
        assert [f"seed={seed}" in line for seed, line in zip(seeds, told, strict=True)] == [True, True, False]

    def test_a_person_is_added_without_a_training(self, bucket, answered, workers):
        asked = answered(MADE | {"images_rejected": [{"url": "photos/x.jpg", "reason": "two faces"}]})
        done = photog("people", "add", "ann", "me/a.jpg", "me/b.jpg", "--bucket", "b")
        assert (done.exit_code, workers) == (0, ["train"])
        (train,) = asked
        assert train["configure"]["user_id"] == "ann"
        assert train["configure"]["max_train_steps"] == 0
        assert len(train["images"]) == 2
        assert done.stdout == "not used: photos/x.jpg: two faces\nann: 2 photos kept, without a training\n"
        assert f"`photog forget {bucket.address} ann` removes them" in done.stderr

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            (["none", "me"], "user_id: none leaves a face as it is"),
            (["a/b", "me"], "'a/b' is not a user id"),
            (["ann", *["me/a.jpg"] * 51], "the photos: List should have at most 50 items"),
        ],
    )
    def test_who_cannot_be_added_is_told_before_anything_starts(self, folder, no_workers, words, told):
        done = photog("people", "add", *words, "--bucket", "b")
        assert done.exit_code == 2
        assert told in done.stderr
        assert not (folder / "b").exists()

    def test_generate_takes_references_in_place_of_a_user_or_beside_one(self, bucket, answered):
        asked = answered(MADE)
        words = ("generate", "b", "--template", "poster.jpg", "--reference", "me/a.jpg", "--reference", "me/b.jpg")
        assert photog(*words).exit_code == 0
        assert photog(*words, "--user", "ann").exit_code == 0
        assert [len(one["configure"]["references"]) for one in asked] == [2, 2]
        assert [one["configure"].get("user_id") for one in asked] == [None, "ann"]
        done = photog("generate", "b", "--template", "poster.jpg")
        assert (done.exit_code, len(asked)) == (2, 2)
        assert "name a user, or give pictures of the person" in done.stderr
        done = photog(*words, "--user", "ann", "--user", "bob")
        assert (done.exit_code, len(asked)) == (2, 2)
        assert "2 ids, but configure.references has 1 lists" in done.stderr


def test_models_and_packages_that_are_missing_are_said_once_and_before_anything_starts(folder, no_workers, monkeypatch):
    words = ("portrait", "me", "--template", "poster.jpg", "--bucket", "b")
    done = photog(*words, PHOTOG_MODEL__PATH="/nowhere")
    assert (done.exit_code, done.stderr.count("photog: no diffusers model at /nowhere")) == (2, 1)
    real = beforehand.find_spec
    monkeypatch.setattr(beforehand, "find_spec", lambda name: None if name == "torch" else real(name))
    for verb in (words, ("up", "b")):
        done = photog(*verb)
        assert done.exit_code == 2
        assert [line for line in done.stderr.splitlines() if "made the folder" not in line] == [
            "photog: train and generate need torch: pip install '.[diffusion]' in photog's checkout"
        ]


@pytest.mark.parametrize("function", NAMES)
def test_every_function_has_a_model_of_its_requests_beside_it(function):
    model = request_model(function)
    assert model is not None
    assert model.__name__ == f"{function.capitalize()}Request"
    assert request_model("nothing") is None


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["check", "b", "me/aa.jpg"], "me/aa.jpg is neither a file nor an object in"),
        (["check", "b", *["x.jpg"] * 21], "the photos: List should have at most 20 items"),
        (["train", "b", "me", "--user", "ann", "--steps", "20000"], "--steps: Input should be less than or equal to"),
        (["generate", "b", "--template", "poster.jpg", "--user", "ann", "--set", "sed=1"], "did you mean seed?"),
        (["generate", "b", "--template", "poster.jpg", "--user", "none", "--user", "dda"],
         "nobody called dda is known in "),
        (["check", "poster.jpg", "me"], "poster.jpg is a file and no bucket, which comes first: photog check BUCKET P"),
        (["train", "poster.jpg", "me", "--user", "ann"], "comes first: photog train BUCKET PHOTO... --user NAME"),
        (["generate", "poster.jpg", "--template", "me/a.jpg", "--user", "ann"], "comes first: photog generate BUCKET"),
        (["people", "add", "/home/me/bucket", "mom", "me/a.jpg"], "photog people add NAME PHOTO... --bucket /home/me"),
    ],
)  # fmt: skip
def test_the_verbs_that_ask_refuse_what_can_be_known_too(words, told, folder):
    (folder / "b").mkdir()
    done = photog(*words)
    assert done.exit_code == 2
    assert told in done.stderr
    assert not list((folder / "b").rglob("requests/*"))


def test_generate_names_the_person_who_is_meant_before_anything_is_sent(folder, answered):
    bucket, asked = FolderBucket(folder / "b"), answered({"warnings": []}, "error", "told")
    bucket.put(keys.model("dad"), b"{}")
    call = ("generate", "b", "--template", "poster.jpg", "--user", "dad")
    done = photog(*call, "--user", "dda")
    assert (done.exit_code, done.stderr) == (
        2, f"photog: nobody called dda is known in {bucket.address}; did you mean dad?\n",
    )  # fmt: skip
    assert [info.key for info in bucket.list("")] == [keys.model("dad")]
    for more in ([], ["--user", "none"]):
        assert photog(*call, *more).stderr == "photog: told\n"
    assert photog(*call[:-1], "dda", "--reference", "me/a.jpg").stderr == "photog: told\n", "photos make anybody known"
    assert len(asked) == 3


def test_a_store_that_shows_nobody_leaves_it_to_the_worker_who_is_known(folder, answered, monkeypatch):
    def refuse(self: FolderBucket, key: str) -> None:
        raise BucketError(f"access to {key} denied")

    answered({"warnings": []}, "error", "told")
    photo = Client(FolderBucket(folder / "b")).reference("poster.jpg")
    head = FolderBucket.head
    monkeypatch.setattr(
        FolderBucket, "head", lambda self, key: refuse(self, key) if key.startswith(keys.USERS) else head(self, key)
    )
    assert photog("generate", "b", "--template", photo, "--user", "ann").stderr == "photog: told\n"


def test_folders_and_patterns_are_their_pictures(folder):
    found = files_of(["me", "me/?.jpg", "poster.jpg", "http://host/*.jpg", "in-the-bucket.jpg"])
    assert found == [
        *(f"me/{name}" for name in ("C.JPG", "a.jpg", "b.jpg", "d.png", "e.jpeg", "f.webp")),
        "me/a.jpg", "me/b.jpg", "poster.jpg", "http://host/*.jpg", "in-the-bucket.jpg",
    ]  # fmt: skip
    (folder / "empty").mkdir()
    assert "there is no picture in the folder empty" in photog("check", "b", "empty").stderr
    for name in ("ann", "bob", "cem"):
        (folder / "empty" / name).mkdir()
    (folder / "empty" / "bob" / "1.jpg").write_bytes(dot(1))
    (folder / "empty" / "cem" / "1.jpg").write_bytes(dot(2))
    told = photog("check", "b", "empty").stderr
    assert told.endswith("; name a folder in it that has some: empty/bob, empty/cem\n")


def test_check_names_files_as_they_were_given_with_every_warning_and_what_was_not_read(folder, answered):
    key = Client(FolderBucket(folder / "b")).reference("me/a.jpg")
    answered({
        "check_results": [verdict(1, "blurred"), verdict(2, f"{key}: no picture")],
        "warnings": [f"{key} came twice"],
    })  # fmt: skip
    done = photog("check", "b", "me/b.jpg", "me/a.jpg")
    assert done.exit_code == 0, "the verdicts are the answer"
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["1", "code", "1", "frontal", "me/b.jpg"], ["blurred"],
        ["2", "code", "2", "me/a.jpg"], ["me/a.jpg:", "no", "picture"],
    ]  # fmt: skip
    assert done.stderr.splitlines() == [
        "photog: warning: me/a.jpg came twice", "photog: 1 of 2 photos could not be read: me/a.jpg",
    ]  # fmt: skip


def test_an_error_names_the_users_file_and_train_says_what_it_did_not_use(folder, answered):
    client = Client(FolderBucket(folder / "b"))
    client.bucket.put(keys.model("ann"), b"{}")
    pictures = Pictures(client, "ann")
    key = pictures.reference("me/a.jpg")
    answered({"warnings": []}, "error", f"{key}: is no picture")
    done = photog("generate", "b", "--template", "me/a.jpg", "--user", "ann")
    assert (done.exit_code, done.stderr) == (1, "photog: me/a.jpg: is no picture\n")
    data = {"user_id": "ann", "best_step": 5, "steps": 9, "similarity": None, "lora": "l"}
    data["images_rejected"] = [{"url": key, "reason": "two faces"}]
    assert describe_training({"code": "OK", "data": data}, pictures).splitlines()[0] == "not used: me/a.jpg: two faces"
    data["stopped"] = {"step": 7, "reason": "overfitting", "message": "more steps would not help"}
    assert describe_training({"code": "OK", "data": data}, pictures).splitlines()[1] == (
        "ended at step 7: more steps would not help"
    )
    assert verdicts({"data": {"check_results": []}}, [], pictures) == ""


def test_generate_without_a_seed_asks_for_another_picture_each_time(folder, answered):
    bucket = FolderBucket(folder / "b")
    bucket.put("results/p.png", b"picture")
    bucket.put(keys.model("ann"), b"{}")
    faces = [{"user_id": "ann", "similarity": {"before": 0.3, "after": None}}]
    made = {"image_key": "results/p.png", "faces": faces, "warnings": ["the template is transparent"], "seed": 5}
    asked = answered(made)
    again = "   (--set seed=5 makes it again)"
    calls = [([], f"portrait.png{again}"), ([], f"portrait-2.png{again}"), (["--set", "seed=7"], "portrait-3.png")]
    for more, told in [*calls, (["--id", "mine", "--out", "portrait.png"], f"portrait.png{again}")]:
        done = photog("generate", "b", "--template", "poster.jpg", "--user", "ann", *more)
        assert (done.exit_code, done.stdout) == (0, f"{told}\n")
        assert "photog: warning: the template is transparent" in done.stderr
    told = json.loads(photog("generate", "b", "--template", "poster.jpg", "--user", "ann", "--json").stdout)
    assert (told["out"], told["data"]["seed"]) == ("portrait-4.png", 5)
    seeds = [one["configure"].get("seed") for one in asked][:4]
    assert seeds[0] != seeds[1]
    assert seeds[2:] == [7, None]


@pytest.mark.parametrize("word", ["remove", "rm", "delete", "forget"])
def test_who_wants_to_remove_a_person_is_told_which_verb_does(word, folder):
    done = photog("people", word, "ann")
    assert done.exit_code == 2
    assert done.stderr.startswith("photog: `photog forget ~/.photog/bucket NAME` removes a person")


def test_ctrl_c_ends_the_wait_and_says_where_the_request_is(folder, monkeypatch):
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Client, "wait", interrupted)
    (folder / "b").mkdir()
    done = photog("train", "b", "me", "--user", "ann")
    line = done.stderr.splitlines()[-1]
    assert done.exit_code == 130
    assert f"stays in {folder / 'b'} and is answered there" in line
    assert "photog status" in line


class TestWaiting:
    """What a user is told while there is no progress yet."""

    @pytest.fixture
    def told(self, tmp_path, capsys, monkeypatch):
        monkeypatch.setattr(console, "HINT_SECONDS", -1.0)
        monkeypatch.setattr(console, "START_SECONDS", 0.0)

        def wait(options: console.WaitOptions = console.DEFAULT_WAIT, *there: str) -> str:
            bucket = FolderBucket(tmp_path / "bucket")
            for key in there:
                bucket.put(key, b"{}")
            waiting = console._Waiting(Client(bucket), "check", "r1", options)
            with ProgressLine([Part("check")]) as line:
                line.begin()
                line.update(None, waiting.explain(line))
            return capsys.readouterr().err

        return wait

    def test_nobody_has_begun_is_said_only_where_it_is_true(self, told):
        assert "unless some are starting, start them in another terminal with `photog up " in told()
        assert "busy with another request" in told(console.DEFAULT_WAIT, keys.progress("check", "other"))
        assert "no worker" not in told(console.DEFAULT_WAIT, keys.claim("check", "r1", 1))

    def test_that_no_worker_is_there_is_said_once(self, tmp_path, capsys, monkeypatch):
        monkeypatch.setattr(console, "HINT_SECONDS", -1.0)
        monkeypatch.setattr(console, "START_SECONDS", 0.0)
        monkeypatch.setattr(progress, "QUIET_SECONDS", -1.0)
        monkeypatch.setattr(progress, "CHANGE_SECONDS", -1.0)
        waiting = console._Waiting(Client(FolderBucket(tmp_path)), "check", "r1", console.DEFAULT_WAIT)
        with ProgressLine([Part("check")]) as line:
            line.begin()
            for _ in range(3):
                line.update(None, waiting.explain(line))
        told = capsys.readouterr().err
        assert told.count("no worker is ready yet") == 1
        assert told.count("photog: check: waiting for a worker\n") == 3

    def test_a_worker_that_is_awake_is_not_said_to_be_missing(self, told, tmp_path):
        assert "a worker is there" in told(console.DEFAULT_WAIT, keys.worker("check", "w1"))
        os.utime(tmp_path / "bucket" / keys.worker("check", "w1"), (1e9, 1e9))
        assert "no worker is ready yet" in told(), "it was killed long ago"

    def test_workers_that_may_be_starting_get_time_before_they_are_said_to_be_missing(self, told, monkeypatch):
        monkeypatch.setattr(console, "START_SECONDS", 60.0)
        assert told() == ""
        assert "busy with another request" in told(console.DEFAULT_WAIT, keys.progress("check", "other"))

    def test_a_store_that_shows_no_workers_ends_no_wait(self, told, monkeypatch):
        def refuse(self: FolderBucket, prefix: str, after: str = "") -> None:
            raise BucketError(f"access to {prefix} denied")

        monkeypatch.setattr(FolderBucket, "list", refuse)
        assert "worker has begun" not in told()

    def test_a_command_with_workers_of_its_own_says_that_they_start(self, told):
        assert "photog up" not in told(console.WaitOptions(loading=lambda: True))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "a few seconds"), (7, "a few seconds"), (41, "about 40 seconds"), (58, "about a minute"),
        (91, "about 2 minutes"), (240, "about 4 minutes"), (7200, "about 2 hours"),
    ],
)  # fmt: skip
def test_a_time_is_told_in_words(seconds, words):
    assert in_words(seconds) == words


def test_one_line_of_progress_counts_all_requests(capsys):
    with ProgressLine([Part("checking", 10.0), Part("training", 100.0), Part("portrait", 10.0)]) as line:
        for _ in range(2):
            line.begin()
        line.update({"stage": "training", "step": 5, "steps": 9, "eta_seconds": 50.0, "loss": 0.25})
        assert line._left({"stage": "training", "step": 5, "steps": 9, "eta_seconds": 50.0}) == 60.0
        assert 0 <= line._shown < 1
    assert capsys.readouterr().err.splitlines() == [
        "photog: checking, about 2 minutes left", "photog: training, about 2 minutes left",
    ]  # fmt: skip
    with ProgressLine([Part("training", None), Part("portrait", 4.0)]) as line:
        line.begin()
        line.update({"stage": "training", "step": 5, "steps": 9, "eta_seconds": 50.0})
    assert capsys.readouterr().err == "photog: training\n", "of models that nobody has timed nothing is promised"


def test_without_a_terminal_each_new_stage_is_a_line_and_a_long_one_another_now_and_then(capsys, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=clock))
    with ProgressLine([Part("training")]) as line:
        line.begin()
        for seconds in range(60):
            clock.now += 1
            stage = {"stage": "training", "step": seconds, "steps": 90, "eta_seconds": 30.0}
            photos = {"stage": "photos", "step": 0, "steps": 5, "eta_seconds": None}
            line.update(None, "waiting for a worker") if seconds < 6 else line.update(photos if seconds < 12 else stage)
    assert capsys.readouterr().err.splitlines() == [
        "photog: training: waiting for a worker", "photog: training: photos, step 0 of 5",
        "photog: training, step 12 of 90, about 30 seconds left",
        "photog: training, step 33 of 90, about 30 seconds left",
        "photog: training, step 54 of 90, about 30 seconds left",
    ]  # fmt: skip


def test_a_grid_is_no_wider_than_its_pictures_and_says_why_a_template_was_refused(tmp_path):
    (tmp_path / "poster.png").write_bytes(dot(100))
    poster, out, sizes = str(tmp_path / "poster.png"), tmp_path / "all.png", []
    for portraits, why in (([Path(poster)], ""), ([], ""), ([], "poster.png shows no face")):
        draw_grid([(poster, portraits, why)], out)
        with Image.open(out) as drawn:
            sizes.append((drawn.width, VACANT in {color for _, color in drawn.getcolors(2**24)}))
    two = 2 * 420 + 8 + 2 * 16
    assert sizes == [(two, False), (NARROWEST + 2 * 16, False), (two, True)]


def test_how_long_things_take_is_remembered_by_their_models(tmp_path):
    settings = Settings(home=tmp_path / "home", model=ModelSettings(path="mine"))
    durations = Durations(settings)
    assert durations.expect("generate") is None
    durations.note({"generate": 3.0})
    assert Durations(settings).expect("generate", 2) == 6.0
    assert Durations(Settings(home=tmp_path / "home")).expect("generate") == EMBEDDED["generate"]
    (tmp_path / "home" / "durations.json").write_text("[1]")
    assert Durations(settings).expect("generate") is None


@pytest.mark.parametrize("engine", get_args(FaceSettings.model_fields["engine"].annotation))
def test_a_similarity_is_explained_whatever_engine_is_configured(engine):
    assert f"similarity by {engine}: 0.5 is " in meaning(engine)


@pytest.mark.parametrize("engine", ["mesh", "dlib"])
def test_a_similarity_is_explained_by_the_thresholds_that_the_code_has(engine):
    text = meaning(engine)
    assert mesh.SAME_PERSON == dlib.SAME_PERSON
    assert f"0.5 is photog's threshold for the same person with {engine} (distance {dlib.SAME_PERSON}" in text
    assert f"{1 - 0.6 / (2 * dlib.SAME_PERSON):.2f} is that of dlib's author (distance 0.6)" in text
    assert "more_like_me=1.0" in text


def test_a_mistyped_variable_is_told_with_the_one_that_is_meant(folder):
    (folder / "b").mkdir()
    wrong = {"PHOTOG_LEASE__SECOND": "5", "PHOTOG_MODEL_PATH": "x", "PHOTOG_SERVE__STAT": "x"}
    right = {"PHOTOG_TOKEN": "t", "PHOTOG_SERVE__STATE": "s", "PHOTOG_MODEL__FEW_STEP__PATH": "p", "photog_home": "h"}
    right |= {"PHOTOG_BUCKETS__MINE": "/b", "PHOTOG_CHECK_SERVICE_HOST": "1", "PHOTOG_SERVE_PORT_80_TCP_ADDR": "1"}
    lines = environment.unknown_variables(wrong | right, extensions.GROUP)
    assert lines == [
        "PHOTOG_LEASE__SECOND is not a setting, so it has no effect; did you mean PHOTOG_LEASE__SECONDS?",
        "PHOTOG_MODEL_PATH is not a setting, so it has no effect; did you mean PHOTOG_MODEL__PATH?",
        "PHOTOG_SERVE__STAT is not a setting, so it has no effect; did you mean PHOTOG_SERVE__STATE?",
    ]
    done = photog("status", "b", PHOTOG_LEASE__SECOND="5")
    assert (done.exit_code, done.stdout, done.stderr) == (2, "", f"photog: {lines[0]}\n")
    done = photog("status", "b", PHOTOG_XYLOPHONE="5")
    assert (done.exit_code, done.stderr) == (
        0, "photog: warning: PHOTOG_XYLOPHONE is not a setting, so it has no effect\n",
    )  # fmt: skip


def test_the_release_is_printed():
    assert photog("--version").stdout.startswith("photog 0.")


def test_a_stray_that_names_a_function_is_that_ones_alone(folder):
    FolderBucket(folder / "b").put("requests/check.json", b"{}")
    counts = json.loads(photog("status", "b", "--json").stdout)
    assert [function for function in NAMES if "unread" in counts[function]] == ["check"]
    assert photog("status", "b").stdout.splitlines()[3:][0] == "not read  1"


def test_invoke_says_what_is_no_json_and_why_an_object_is_ignored(folder, monkeypatch):
    bucket = FolderBucket(folder / "b")
    (folder / "bad.json").write_bytes(b"\xff\xfe{")
    done = photog("invoke", "check", "b", "bad.json")
    assert done.exit_code == 2
    assert done.stderr.startswith("photog: bad.json is not JSON: ")
    bucket.put("requests/check/empty.json", b"")
    names = ("requests/train/t.json", "requests/check/gone.json", "requests/check/empty.json", "other.txt")
    records = [
        {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "b"}, "object": {"key": key, "size": 1}}}
        for key in names
    ]
    (folder / "event.json").write_text(json.dumps({"Records": records}))
    monkeypatch.setattr("shared.cli.workers.isolate_function", lambda name, settings: type("F", (), {"name": name})())
    done = photog("invoke", "check", "b", "event.json")
    assert done.exit_code == 0
    assert [line.partition(" is ignored: ")[2] for line in done.stderr.splitlines() if "ignored" in line] == [
        "it is a manifest of train", f"it is not in {folder / 'b'}", "it is empty",
        "no manifest of check has such a key",
    ]  # fmt: skip


def test_credentials_that_are_missing_are_wrong_usage_and_an_outage_is_not(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    settings = {"PHOTOG_S3__ENDPOINT": "http://127.0.0.1:9", "PHOTOG_S3__TRIES": "1", "PHOTOG_S3__REGION": "r-1"}
    away = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/none", "AWS_SHARED_CREDENTIALS_FILE": "/none"}
    aws_clients._session.cache_clear()  # which remembers credentials
    for verb in (("status",), ("worker", "check"), ("check",)):
        done = photog(*verb, "s3://b", *(["photos/a.jpg"] if verb == ("check",) else []), **settings, **away)
        assert done.exit_code == 2, done.output
        assert "AWS_ACCESS_KEY_ID" in done.stderr
    keys_ = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "k"}
    aws_clients._session.cache_clear()
    assert photog("status", "s3://b", **settings, **away, **keys_).exit_code == 75
    aws_clients._session.cache_clear()


def test_a_second_server_on_a_port_is_told_in_one_line(folder):
    with socket.create_server(("127.0.0.1", 0)) as first:
        port = first.getsockname()[1]
        done = photog("serve", "b", "--port", port, PHOTOG_TOKEN="t")
    assert done.exit_code == 2
    assert done.stderr == (
        f"photog: cannot listen on 127.0.0.1:{port}: Address already in use; choose another --port or --host\n"
    )


def test_the_page_of_the_server_names_no_other_host_and_all_its_calls(tmp_path):
    with Served(tmp_path).running() as client:
        shown = client.get("/docs")
        assert shown.status_code == 200
        assert shown.headers["Content-Security-Policy"].startswith("default-src 'none'")
        for foreign in ("http:", "https:", "//", "<script", "@import", "url("):
            assert foreign not in shown.text
        for own in ("/api/predict/{service}/sink", "_timeout_", "/healthz", "/metrics", "POST"):
            assert own in shown.text
        assert client.get("/redoc").status_code == 404


@pytest.mark.parametrize(
    ("environment", "settings", "threads"),
    [
        ({}, {}, None),
        ({"OMP_NUM_THREADS": "2"}, {}, "2"),
        ({"OMP_NUM_THREADS": "2"}, {"threads": 3}, "3"),
    ],
)
def test_threads_sleep_while_they_wait_and_a_users_number_of_them_stays(environment, settings, threads):
    made = threading_environment(ModelSettings(**settings), environment)
    assert made["OMP_WAIT_POLICY"] == "passive"
    assert made.get("OMP_NUM_THREADS") == threads
    assert threading_environment(ModelSettings(), {"OMP_WAIT_POLICY": "active"})["OMP_WAIT_POLICY"] == "active"


def test_workers_that_shall_hand_back_hear_it_however_close_the_signals_come(monkeypatch):
    """A signal sent while the same one is pending is lost: two at once are one."""
    code = (
        "import signal, sys, time\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])\n"
        f"print({READY!r}, flush=True)\n"
        "for _ in range(2):\n"
        "    signal.sigwait([signal.SIGTERM]); time.sleep(0.05)\n"
    )
    monkeypatch.setattr(supervisor, "worker_command", lambda function, address: [sys.executable, "-Ic", code])
    monkeypatch.setattr(supervisor, "REPEAT_SECONDS", 0.1)
    begun = time.monotonic()
    with Supervisor("bucket", ["check"], 100.0) as watched:
        while not watched._posts[0].child.ready:
            time.sleep(0.01)
        watched.hand_back()
        begun = time.monotonic()
    assert time.monotonic() - begun < 2
    assert watched._posts[0].child.process.returncode == 0
