"""`photog portrait`: photos and templates in, portraits out, by the same requests that an application sends."""

import hashlib
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import typer

from shared.cli.beforehand import (
    leave_out_unreadable,
    require_different,
    require_installed,
    require_known,
    require_pictures,
    require_valid,
    require_writable,
)
from shared.cli.console import (
    AsJson,
    Verbose,
    WaitOptions,
    bucket_at,
    existing_bucket,
    fail,
    finish,
    show,
    submit_request,
)
from shared.cli.durations import Durations
from shared.cli.identity import require_user
from shared.cli.likeness import THRESHOLDS, explain_similarity
from shared.cli.own_workers import log_quietly, report_unfinished, report_what_stays, run_workers
from shared.cli.pictures import SHEET_SUFFIXES, Pictures, complete_files, files_of, find_free, require_file
from shared.cli.progress import Part, ProgressLine, in_words
from shared.cli.requests import (
    SEEDS,
    Knobs,
    ReplacePerson,
    check_body,
    count_of,
    describe_training,
    generate_body,
    knobs_of,
    likenesses,
    save_portrait,
    tell_unreadable,
    train_body,
    verdicts,
)
from shared.contract.manifests import Json
from shared.errors import AnotherPerson
from shared.operations.client import Client
from shared.settings import ModelSettings, Settings

FEWEST, MOST = 5, 20  # photos: the minimum of a training, the maximum of a check
STEPS = 400  # of a training, unless --steps says otherwise
MOST_PORTRAITS = 100  # of one command
OTHER = 6  # code of a photo that shows another person than most
MIXED, MIXED_SHARE = 2, 0.25  # so many of them, at least, and of the good photos: folders were mixed up, not a photo
KEEP_STAGES = {"PHOTOG_GENERATE__KEEP_STAGES": "true"}  # for the sheet
INSTANT = "no training needed on {model}; `--train` does it anyway"
PORTRAITS = Path("portraits")  # the folder for several of them


@dataclass(frozen=True)
class _Order:
    """What the user asks for.

    Attributes:
        user: the person's id; derived from the photos, unless the user has chosen one.
        steps: of the training; None for a portrait without one.
        seeds: one for each portrait of a template.
        replace_person: whether the photos may take the id of somebody else who is known.
        out: the file of each portrait, by template and seed.
    """

    files: list[str]
    templates: list[str]
    user: str
    steps: int | None
    configure: Json
    seeds: list[int]
    out: dict[tuple[str, int], Path]
    replace_person: bool = False


@dataclass
class _Answers:
    """The answers to a command's requests; a portrait's by template and seed.

    Attributes:
        asked: the id of the portrait that is waited for, if its seed was drawn for this call.
        waited: seconds until the first answer, beyond what the work itself has taken.
    """

    check: Json | None = None
    train: Json | None = None
    made: dict[tuple[str, int], Json] = field(default_factory=dict)
    asked: str | None = None
    waited: list[float] = field(default_factory=list)

    def note_wait(self, begun: float) -> None:
        """Note how long the first answer took longer than its work; the others follow without a start of workers."""
        first = self.check or next(iter(self.made.values()))
        if not self.waited:
            self.waited.append(max(0.0, time.monotonic() - begun - first["data"].get("cost_time", 0.0)))


def portrait(
    template: Annotated[
        list[str],
        typer.Option(
            help="The picture whose face is replaced; a folder or a pattern for several. May be repeated.",
            autocompletion=complete_files,
        ),
    ],
    photos: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PHOTO...",
            help="1 to 20 photos of one person, 5 or more with a training: files, folders, patterns. None for a --user "
            "who is known already.",
            autocompletion=complete_files,
        ),
    ] = None,
    user: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The person's name; by default an id derived from the photos."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The file for the portrait [portrait.png]; for several, their folder [portraits]. What is named is "
            "replaced, otherwise the next free name is taken."
        ),
    ] = None,
    replace_person: ReplacePerson = False,
    count: Annotated[
        int, typer.Option(min=1, max=MOST_PORTRAITS, help="Portraits of each template, with seeds of their own.")
    ] = 1,
    knobs: Knobs = None,
    grid: Annotated[Path | None, typer.Option(help="Also draw all portraits beside each other.")] = None,
    sheet: Annotated[Path | None, typer.Option(help="Also draw photos, stages and result on one sheet.")] = None,
    train: Annotated[
        bool | None, typer.Option("--train/--no-train", help="Train a LoRA first; by default not on portrait-tiny.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help=f"Training steps; {STEPS} by default.")] = None,
    bucket: Annotated[
        Path | None, typer.Option(help="The folder that serves as the bucket; by default ~/.photog/bucket.")
    ] = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Make portraits of a person in one go.

    Checks the photos, trains where that adds to the likeness, and puts the person into each template, with workers of
    its own. What is kept of the person stays in the bucket; `photog forget BUCKET NAME` removes it. The workers stay
    ready for five minutes, so the next portrait takes seconds (PHOTOG_WARM_SECONDS).

    \b
    Examples:
      photog portrait me --template poster.jpg          me is a folder of photos
      photog portrait --user ann --template poster.jpg  ann is known: no photos
      photog portrait --user ann --template posters --count 4 --grid all.jpg
      photog portrait me --template poster.jpg --set more_like_me=1.0
    """
    settings = Settings()
    log_quietly(settings, verbose)
    steps = _steps(train, steps, bool(photos), settings)
    address = str(bucket or settings.home / "bucket")
    order = _read_order(photos or [], template, user, steps, knobs_of(knobs), count, out, settings)
    order = replace(order, replace_person=replace_person)
    _require_outputs(order, grid, sheet)
    require_installed(settings)
    if not order.files:
        if bucket is None and not Path(address).expanduser().exists():
            fail("nobody is known yet, as this is the first portrait here: name photos of the person")
        require_known(Client(existing_bucket(address)), order.user)
    if order.files and order.steps is None:
        typer.echo(f"photog: {INSTANT.format(model=settings.model.path)}", err=True)
    client = Client(bucket_at(address))
    report_unfinished(client.bucket, settings)
    pictures, answers, durations = Pictures(client, order.user), _Answers(), Durations(settings)
    with (
        _withdraw_interrupted(client, answers),
        report_what_stays(client.bucket.address) as people,
        run_workers(
            client,
            settings,
            _functions(order),
            KEEP_STAGES if sheet else None,
            verbose,
            ending=["train"],
            left=_say_what_goes_on(order, client.bucket.address),
        ) as options,
    ):
        parts = _plan(order, durations, options.warm)
        _say_beforehand(order, parts)
        with ProgressLine(parts, quiet=verbose) as line:
            _make(order, client, pictures, people, options.showing(line), answers, as_json)
    _note_durations(durations, order, answers, options.warm)
    _draw(client, order, answers, settings, grid, sheet, pictures)
    _print(order, answers, settings, pictures, as_json, grid, sheet)


def _say_what_goes_on(order: _Order, address: str) -> str:
    """Return what stays of an interrupted command, and what the same command would do then."""
    stopped = f"stopped, with the workers; finished work stays in {address}"
    if "seed" in order.configure:
        return f"{stopped}, and the same command continues from there"
    if len(order.out) == 1:
        again = "the same command continues from there, with another seed for its portrait"
        return f"{stopped}, and {again}"
    done = f"finished portraits in {next(iter(order.out.values())).parent}"
    begins = "a training is continued, and all portraits are made anew with other seeds"
    return f"{stopped}, and {done}; if you give the same command again, {begins}"


def _functions(order: _Order) -> list[str]:
    return (["check"] if order.files else []) + (["train"] if order.steps else []) + ["generate"]


def _steps(train: bool | None, steps: int | None, photos: bool, settings: Settings) -> int | None:
    """Return the steps of the training; None if none is made."""
    embedded = settings.model.path == ModelSettings().path
    if not photos:
        if train or steps is not None:
            fail("a training needs photos: name them, or leave out --train and --steps")
        return None
    if train is False or (train is None and embedded):
        if steps is not None:
            fail("--steps is for a training: add --train")
        return None
    if steps is not None and steps < 1:
        fail("--steps: a training has 1 step or more; leave --train out to make a portrait without one")
    return steps or STEPS


def _read_order(
    photos: list[str],
    template: list[str],
    user: str | None,
    steps: int | None,
    knobs: Json,
    count: int,
    out: Path | None,
    settings: Settings,
) -> _Order:
    """Return what the user asks for; exit if it cannot be done."""
    if user is not None:
        require_user(user)
    elif not photos:
        fail("name photos of the person, or a person who is known already with --user")
    files = [str(require_file(photo)) for photo in files_of(photos)]
    templates = list(dict.fromkeys(str(require_file(one)) for one in files_of(template)))
    identity = user or _derive_user(files)
    require_valid("generate", generate_body(templates[0], [identity], {"seed": 0} | knobs))
    if steps is not None:
        require_valid("train", train_body(files, identity, steps, _checkpoint_interval(steps)))
    fewest = 1 if steps is None else FEWEST
    if photos and not fewest <= len(files) <= MOST:
        fail(f"{len(files)} photos; give {fewest} to {MOST} of one person")
    require_pictures(templates, settings)
    files = leave_out_unreadable(files, settings)
    require_different(files, fewest)
    if "seed" in knobs and count > 1:
        fail("--count makes portraits with seeds of their own: leave out --set seed, or --count")
    seeds = [knobs["seed"]] if "seed" in knobs else [secrets.randbelow(SEEDS) for _ in range(count)]
    if len(templates) * count > MOST_PORTRAITS:
        fail(f"{len(templates)} templates x {count} are {len(templates) * count} portraits; {MOST_PORTRAITS} at once")
    return _Order(files, templates, identity, steps, knobs, seeds, _name_portraits(templates, seeds, out))


def _name_portraits(templates: list[str], seeds: list[int], out: Path | None) -> dict[tuple[str, int], Path]:
    """Return the file of each portrait: `out` for a single one, else `out/TEMPLATE.png`, with a number for a seed."""
    pairs = [(template, seed) for template in templates for seed in seeds]
    if len(pairs) == 1:
        return {pairs[0]: out or find_free(Path("portrait.png"))}
    if out is not None and out.suffix.lower() in SHEET_SUFFIXES:
        fail(f"--out {out}: {len(pairs)} portraits need a folder; name one, or use --grid {out} for one picture of all")
    folder, named = out or find_free(PORTRAITS), dict[tuple[str, int], Path]()
    for template in templates:
        for index, seed in enumerate(seeds, 1):
            stem = Path(template).stem + (f"-{index}" if len(seeds) > 1 else "")
            taken = sum(path.stem == stem or path.stem.startswith(f"{stem}~") for path in named.values())
            named[template, seed] = folder / f"{stem}{f'~{taken + 1}' if taken else ''}.png"
    return named


def _require_outputs(order: _Order, grid: Path | None, sheet: Path | None) -> None:
    """Exit if a file cannot be written."""
    for out in order.out.values():
        require_writable(out)
    if sheet is not None and len(order.out) > 1:
        fail("--sheet shows the stages of one portrait: use --grid for several")
    for drawn in (one for one in (grid, sheet) if one is not None):
        require_writable(drawn, SHEET_SUFFIXES)


def _plan(order: _Order, durations: Durations, warm: bool) -> list[Part]:
    """Return the requests in their order, with the seconds that they should take; the first has to wait for a start."""
    parts = []
    if order.files:
        parts.append(
            Part(f"checking {count_of(len(order.files), 'photo')}", durations.expect("check", len(order.files)))
        )
    if order.steps is not None:
        parts.append(Part("training", durations.expect("train", order.steps)))
    for number in range(1, len(order.out) + 1):
        which = f" {number} of {len(order.out)}" if len(order.out) > 1 else ""
        parts.append(Part(f"portrait{which}", durations.expect("generate")))
    load = durations.expect("load")
    if not warm and load is not None and parts[0].seconds is not None:
        parts[0] = Part(parts[0].what, parts[0].seconds + load)
    return parts


def _say_beforehand(order: _Order, parts: list[Part]) -> None:
    """Say how long it takes, if that is known."""
    known = [part.seconds for part in parts if part.seconds is not None]
    if len(known) == len(parts):
        once = ", once: the next portraits need no training" if order.steps else ""
        typer.echo(f"photog: this takes {in_words(sum(known))}{once}; Ctrl-C stops it", err=True)


def _make(
    order: _Order,
    client: Client,
    pictures: Pictures,
    people: dict[str, str],
    options: WaitOptions,
    answers: _Answers,
    as_json: bool,
) -> None:
    """Send the requests, print what check and train answer, and save the portraits; `people` gets who is kept."""
    references: list[str] = []
    begun = time.monotonic()
    if order.files:
        people[order.user] = "photos"
        references = _check(order, client, pictures, options, answers, as_json)
        answers.note_wait(begun)
    if order.steps is not None:
        interval = _checkpoint_interval(order.steps)
        body = train_body(references, order.user, order.steps, interval, order.replace_person)
        answers.train, references = submit_request(client, "train", body, options), []
        if answers.train["code"] != "OK" or not as_json:
            with options.pause():
                finish(answers.train, as_json, describe_training(answers.train, pictures), pictures.explain)
        people[order.user] = "photos and LoRA"
    refused = set[str]()
    for (template, seed), out in order.out.items():
        if template in refused:
            options.skip()
            continue
        configure = order.configure | {"seed": seed}
        body = generate_body(pictures.reference(template), [order.user], configure, references, order.replace_person)
        if "seed" not in order.configure:
            answers.asked = f"generate-{secrets.token_hex(6)}"  # of this call alone: no other call would ask for it
            body = {"request_id": answers.asked} | body
        made = submit_request(client, "generate", body, options)
        answers.made[template, seed], answers.asked = made, None
        answers.note_wait(begun)
        if made["code"] == "OK":
            save_portrait(client, made, out)
            references = []  # they are kept by now
            people.setdefault(order.user, "photos")
        elif not (error := made["data"].get("error", {})).get("retryable", False):
            # with any other seed too, and photos of somebody else with any other template
            refused |= set(order.templates) if error.get("type") == AnotherPerson.__name__ else {template}


@contextmanager
def _withdraw_interrupted(client: Client, answers: _Answers) -> Iterator[None]:
    """Remove the request for a portrait whose wait is interrupted, once its workers are gone: the next call draws
    another seed, so that nobody would ever ask for this one.
    """
    try:
        yield
    finally:
        if answers.asked is not None:
            client.withdraw("generate", answers.asked)


def _check(
    order: _Order, client: Client, pictures: Pictures, options: WaitOptions, answers: _Answers, as_json: bool
) -> list[str]:
    """Check the photos and print the verdicts; exits if none is usable.

    Returns:
        The references of the usable photos.
    """
    references = [pictures.reference(photo) for photo in order.files]
    checked = answers.check = submit_request(client, "check", check_body(references, True, order.user), options)
    with options.pause():
        if checked["code"] != "OK" or not as_json:
            finish(checked, False, verdicts(checked, order.files, pictures), pictures.explain)
            tell_unreadable(checked, order.files)
        results = checked["data"]["check_results"]
        usable = [one["url"] for one in results if one["code"] == 1]
        others = [file for file, one in zip(order.files, results, strict=False) if one["code"] == OTHER]
        if usable and len(others) >= max(MIXED, MIXED_SHARE * (len(usable) + len(others))):
            if as_json:
                show({"check": checked})
            told = f"{len(others)} of the {len(usable) + len(others)} good photos show somebody else than the others"
            typer.echo(f"photog: {told}: {', '.join(others)}; name photos of one person", err=True)
            raise typer.Exit(1)
        if not usable:
            if as_json:
                show({"check": checked})
            typer.echo("photog: none of the photos can be used; each line above says why", err=True)
            raise typer.Exit(1)
        if order.steps is not None and len(usable) < FEWEST:
            told = f"{len(usable)} of {len(order.files)} photos can be used, and a training needs {FEWEST}"
            typer.echo(f"photog: {told}: add photos that show one whole face of the person", err=True)
            raise typer.Exit(1)
    return usable


def _checkpoint_interval(steps: int) -> int:
    """Return the steps between two checkpoints of a training."""
    return max(1, steps // 8)


def _derive_user(files: list[str]) -> str:
    """Return an id for the person in these photos: the same for the same photos, whatever they are called."""
    hashes = sorted(hashlib.sha256(Path(one).read_bytes()).hexdigest() for one in files)
    return "person-" + hashlib.sha256("\n".join(hashes).encode()).hexdigest()[:12]


def _note_durations(durations: Durations, order: _Order, answers: _Answers, warm: bool) -> None:
    """Remember what each kind of work has taken."""
    seconds = {} if warm or not answers.waited else {"load": answers.waited[0]}
    if answers.check is not None:
        seconds["check"] = answers.check["data"]["cost_time"] / len(order.files)
    if answers.train is not None and order.steps:
        seconds["train"] = answers.train["data"]["cost_time"] / order.steps
    took = [one["data"]["cost_time"] for one in answers.made.values() if one["code"] == "OK"]
    if took:
        seconds["generate"] = sum(took) / len(took)
    durations.note(seconds)


def _draw(
    client: Client,
    order: _Order,
    answers: _Answers,
    settings: Settings,
    grid: Path | None,
    sheet: Path | None,
    pictures: Pictures,
) -> None:
    """Draw the sheet and the grid, if they are wanted and there is something to draw."""
    from shared.cli.sheet import contact_sheet, draw_grid  # with Pillow, which is a part of every verb's start

    made = {key: one for key, one in answers.made.items() if one["code"] == "OK"}
    if grid is not None and made:
        failed = {key[0]: one["message"] for key, one in answers.made.items() if one["code"] != "OK"}
        rows = [
            (one, [order.out[key] for key in made if key[0] == one], pictures.explain(failed.get(one, "")))
            for one in order.templates
        ]
        draw_grid(rows, grid)
    if sheet is not None and made:
        ((template, _), one), threshold = next(iter(made.items())), THRESHOLDS[settings.faces.engine]
        contact_sheet(client, answers.check, answers.train, Path(template), one, sheet, threshold, order.files)


def _print(
    order: _Order,
    answers: _Answers,
    settings: Settings,
    pictures: Pictures,
    as_json: bool,
    grid: Path | None,
    sheet: Path | None,
) -> None:
    """Print the portraits' answers; exit with 1 if one is an error."""
    failed = list(dict.fromkeys(one["message"] for one in answers.made.values() if one["code"] != "OK"))
    if as_json:
        _print_json(order, answers)
        if failed:
            raise typer.Exit(1)
        return
    for (template, seed), one in answers.made.items():
        out = order.out[template, seed]
        if one["code"] == "OK":
            again = "" if "seed" in order.configure else f"   (--set seed={seed} makes it again)"
            finish(one, False, "\n".join([*likenesses(one), f"{out}{again}"]), pictures.explain)
    for message in failed:
        typer.echo(f"photog: {pictures.explain(message)}", err=True)
    if any(likenesses(one) for one in answers.made.values()):
        typer.echo(explain_similarity(settings), err=True)
    for drawn in (one for one in (grid, sheet) if one is not None):
        if any(one["code"] == "OK" for one in answers.made.values()):
            typer.echo(str(drawn))
    if failed:
        raise typer.Exit(1)


def _print_json(order: _Order, answers: _Answers) -> None:
    """Print all answers as one object: a portrait's own keys for a single one, a list for several."""
    made = [one | {"out": str(order.out[key])} for key, one in answers.made.items()]
    found = {"check": answers.check, "train": answers.train}
    told = {name: one for name, one in found.items() if one is not None}
    if len(made) == 1:
        (only,) = answers.made.values()
        show(told | {"generate": only, "out": made[0]["out"]} if only["code"] == "OK" else only)
    else:
        show(told | {"portraits": made})
