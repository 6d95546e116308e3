"""Every key of the bucket, spelled once.

| prefix | who writes it | what lies there |
|---|---|---|
| `requests/` | applications | manifests; never changed |
| `claims/` | workers | one object an attempt, created only if absent |
| `progress/` | workers | how far a running request is; gone with its answer |
| `results/` | workers | answers, conflicts, artifacts |
| `users/` | workers | which training serves a user |
| `notifications/` | workers | completion events, where the bucket is their sink |
| `outbox/` | workers | completion events that are not delivered yet |
| `failing/` | workers | keys that cannot be served at the moment, for operators |
| `index/` | workers | what spares a new worker to look at answered manifests; may be thrown away |
| `probes/` | workers, `photog doctor` | whether the store honors conditional writes; gone at once |
| `photos/` | the client | pictures that it has put beside its manifest |
| `queue/` | `photog serve` | messages and their answers |

`ROOTS` is what `photog forget` reads through: a prefix that is not in it cannot be made.
"""

import re

REQUESTS = "requests/"
CLAIMS = "claims/"
PROGRESS = "progress/"
RESULTS = "results/"
USERS = "users/"
NOTIFICATIONS = "notifications/"
OUTBOX = "outbox/"
FAILING = "failing/"
INDEX = "index/"
PROBES = "probes/"
PHOTOS = "photos/"
QUEUE = "queue/"
ROOTS = (REQUESTS, CLAIMS, PROGRESS, RESULTS, USERS, NOTIFICATIONS, OUTBOX, FAILING, INDEX, PROBES, PHOTOS, QUEUE)

UNUSABLE = re.compile(r"(?:^|/)\.\.?(?:/|\Z)|[\\\x00-\x1f\x7f-\x9f]")  # no object of ours has it in its key
PLAIN = re.compile(r"requests/([a-z]+)/[\w-][\w.-]*\.json", re.ASCII)  # as nearly all manifests are called
SCRATCH = "scratch/"  # below an attempt: for the next attempt, never for an answer


def requests(function: str) -> str:
    """The prefix of a function's manifests."""
    return f"{REQUESTS}{function}/"


def request(function: str, request_id: str) -> str:
    """Where `photog submit` puts a manifest; an application may name it as it likes."""
    return f"{requests(function)}{request_id}.json"


def without_empty_names(key: str) -> str:
    """The key with the empty names between its / left out, that an S3 store allows and no other does."""
    return "/".join(name for name in key.split("/") if name)


def is_request(key: str, function: str) -> bool:
    """Whether a key is the function's manifest: `requests/<function>/.../<name>.json`, also with //; no hidden file."""
    if (plain := PLAIN.fullmatch(key)) is not None:
        return plain[1] == function
    if UNUSABLE.search(key):
        return False
    folder, _, name = without_empty_names(key).rpartition("/")
    json = name.lower().endswith(".json")  # .JSON too: some cameras, scripts and old file systems write nothing else
    return json and f"{folder}/".startswith(requests(function)) and not name.startswith(".")


def claims(function: str, request_id: str) -> str:
    """The prefix of a request's claims."""
    return f"{CLAIMS}{function}/{request_id}/"


def claim(function: str, request_id: str, attempt: int) -> str:
    """Where an attempt is claimed."""
    return f"{claims(function, request_id)}{attempt:06d}.json"


def running(function: str) -> str:
    """The prefix of what says how far running requests are."""
    return f"{PROGRESS}{function}/"


def progress(function: str, request_id: str) -> str:
    """Where a running request says how far it is."""
    return f"{PROGRESS}{function}/{request_id}.json"


def results(function: str) -> str:
    """The prefix of a function's answers."""
    return f"{RESULTS}{function}/"


def result_folder(function: str, request_id: str) -> str:
    """The prefix of a request's answer, conflicts and artifacts."""
    return f"{results(function)}{request_id}/"


def result(function: str, request_id: str) -> str:
    """Where a request's answer lies."""
    return f"{result_folder(function, request_id)}result.json"


def conflict(function: str, request_id: str, sha256: str) -> str:
    """Where a body is answered whose id belongs to another one.

    Args:
        sha256: of the body.
    """
    return f"{result_folder(function, request_id)}conflict-{sha256[:8]}.json"


def artifacts(function: str, request_id: str, attempt: int) -> str:
    """The prefix of what an attempt has made."""
    return f"{result_folder(function, request_id)}a{attempt}/"


def user(user_id: str) -> str:
    """The prefix of what is kept of a user."""
    return f"{USERS}{user_id}/"


def model(user_id: str) -> str:
    """Which training serves a user."""
    return f"{user(user_id)}model.json"


def pointer_swaps(user_id: str) -> str:
    """The prefix of what takes part in the swap of a user's model."""
    return f"{user(user_id)}swaps/"


def notification(function: str, event_id: str) -> str:
    """Where a completion event is written."""
    return f"{NOTIFICATIONS}{function}/{event_id}.json"


def failing(function: str) -> str:
    """The prefix of what tells which keys of a function fail."""
    return f"{FAILING}{function}/"


def messages(service: str) -> str:
    """The prefix of a queue's messages."""
    return f"{QUEUE}{service}/"


def outbox(function: str, request_id: str) -> str:
    """Where the undelivered event of a request is noted."""
    return f"{OUTBOX}{function}/{request_id}.json"
