"""All keys of the bucket; no other module spells them.

| prefix | written by | content |
|---|---|---|
| `requests/` | applications | manifests; never changed |
| `claims/` | workers | one object per attempt, created only if absent |
| `progress/` | workers | progress of running requests; deleted after the answer |
| `results/` | workers | answers, conflicts, artifacts |
| `users/` | workers, the client | which training serves a user; photos that were uploaded for that user alone |
| `notifications/` | workers | completion events, if they are sent to the bucket |
| `outbox/` | workers | completion events that are not delivered yet |
| `failing/` | workers | keys that cannot be served at the moment, for operators |
| `workers/` | workers | that they are alive, for operators |
| `index/` | workers | lets a new worker skip answered manifests; may be deleted at any time |
| `probes/` | workers, `photog doctor` | tests whether the store honors conditional writes; deleted at once |
| `photos/` | the client | pictures that it uploaded along with a manifest |
| `queue/` | `photog serve` | messages and their answers |
| `usage/` | workers | by day and user, what each answered request used, and how many a user may still send |

`ROOTS` is the list that `photog forget` searches: keys can only be made below a prefix in it.
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
WORKERS = "workers/"
PHOTOS = "photos/"
QUEUE = "queue/"
USAGE = "usage/"
ROOTS = (
    REQUESTS,
    CLAIMS,
    PROGRESS,
    RESULTS,
    USERS,
    NOTIFICATIONS,
    OUTBOX,
    FAILING,
    INDEX,
    PROBES,
    WORKERS,
    PHOTOS,
    QUEUE,
    USAGE,
)

TEMPLATES = "templates/"  # put there by operators, for `photog page`; nobody's own, so forgetting leaves it
PEOPLE = "people/"  # below an attempt's prefix: a person's references each, which outlive the answer of several people
VALIDATION = "validation/"  # below an attempt's prefix: what a training's validations have made, one file each
VALIDATION_PICTURES = re.compile(rf"{RESULTS}train/[^/]+/a\d+/{VALIDATION}(\d{{6,}})\.jpg")
KEPT_PHOTO = re.compile(rf"{RESULTS}generate/[^/]+/a\d+/{PEOPLE}([^/]+)/[^/]+")
USER_PHOTO = re.compile(rf"{USERS}[^/]+/{PHOTOS}[^/]+")
UNUSABLE = re.compile(r"(?:^|/)\.\.?(?:/|\Z)|[\\\x00-\x1f\x7f-\x9f]")  # never part of a key of ours
PLAIN = re.compile(r"requests/([a-z]+)/[\w-][\w.-]*\.json", re.ASCII)  # nearly all manifests match this
SCRATCH = "scratch/"  # below an attempt's prefix: for the next attempt, never for an answer
ANSWERED_FILE = re.compile(rf"a\d+/(?!{SCRATCH})[^/].*")  # below the prefix of an answer: what it can name


def requests(function: str) -> str:
    """Return the prefix of a function's manifests."""
    return f"{REQUESTS}{function}/"


def request(function: str, request_id: str) -> str:
    """Return the key under which `photog submit` puts a manifest; an application may choose another one."""
    return f"{requests(function)}{request_id}.json"


def without_empty_names(key: str) -> str:
    """Return the key without empty names between slashes, which S3 allows and no other store does."""
    return "/".join(name for name in key.split("/") if name)


def is_request(key: str, function: str) -> bool:
    """Return whether a key is a manifest of the function.

    That is `requests/<function>/.../<name>.json`, also with //, but not a hidden file.
    """
    if (plain := PLAIN.fullmatch(key)) is not None:
        return plain[1] == function
    if UNUSABLE.search(key):
        return False
    folder, _, name = without_empty_names(key).rpartition("/")
    json = name.lower().endswith(".json")  # .JSON too: some cameras, scripts and old file systems write nothing else
    return json and f"{folder}/".startswith(requests(function)) and not name.startswith(".")


def claims(function: str, request_id: str) -> str:
    """Return the prefix of a request's claims."""
    return f"{CLAIMS}{function}/{request_id}/"


def claim(function: str, request_id: str, attempt: int) -> str:
    """Return the key of the claim of one attempt."""
    return f"{claims(function, request_id)}{attempt:06d}.json"


def running(function: str) -> str:
    """Return the prefix of the progress of running requests."""
    return f"{PROGRESS}{function}/"


def progress(function: str, request_id: str) -> str:
    """Return the key of a running request's progress."""
    return f"{PROGRESS}{function}/{request_id}.json"


def results(function: str) -> str:
    """Return the prefix of a function's answers."""
    return f"{RESULTS}{function}/"


def result_folder(function: str, request_id: str) -> str:
    """Return the prefix of a request's answer, conflicts and artifacts."""
    return f"{results(function)}{request_id}/"


def result(function: str, request_id: str) -> str:
    """Return the key of a request's answer."""
    return f"{result_folder(function, request_id)}result.json"


def conflict(function: str, request_id: str, sha256: str) -> str:
    """Return the key of the answer to a body whose id was already used with another body.

    Args:
        sha256: hash of the body.
    """
    return f"{result_folder(function, request_id)}conflict-{sha256[:8]}.json"


def artifacts(function: str, request_id: str, attempt: int) -> str:
    """Return the prefix of an attempt's artifacts."""
    return f"{result_folder(function, request_id)}a{attempt}/"


def validation_pictures(step: int) -> str:
    """Return the name, below an attempt's prefix, of what a training's validation has made after a step."""
    return f"{VALIDATION}{step:06d}.jpg"


def step_of_validation(key: str) -> int | None:
    """Return the step of validation pictures by their key; None for any other key."""
    found = VALIDATION_PICTURES.fullmatch(key)
    return int(found[1]) if found else None


def kept_photos(user_id: str) -> str:
    """Return the prefix, below an attempt's, of the references that a portrait keeps of a person."""
    return f"{PEOPLE}{user_id}/"


def whose_photo(key: str) -> str | None:
    """Return the user for whom a portrait keeps the reference of this key; None for any other key."""
    found = KEPT_PHOTO.fullmatch(key)
    return found[1] if found else None


def user(user_id: str) -> str:
    """Return the prefix of everything kept about a user."""
    return f"{USERS}{user_id}/"


def model(user_id: str) -> str:
    """Return the key of the object that says which training serves a user."""
    return f"{user(user_id)}model.json"


def user_photos(user_id: str) -> str:
    """Return the prefix of a user's photos: those that a client has uploaded for this person alone."""
    return f"{user(user_id)}{PHOTOS}"


def draft_photos(draft: str) -> str:
    """Return the prefix of photos that were uploaded before it is known whose they are."""
    return f"{PHOTOS}{draft}/"


def is_user_photo(key: str) -> bool:
    """Return whether a key is that of a photo which a client has uploaded for one person."""
    return USER_PHOTO.fullmatch(key) is not None


def pointer_swaps(user_id: str) -> str:
    """Return the prefix of the candidates for a user's model; see `shared/lifecycle/pointers.py`."""
    return f"{user(user_id)}swaps/"


def notification(function: str, event_id: str) -> str:
    """Return the key of a completion event."""
    return f"{NOTIFICATIONS}{function}/{event_id}.json"


def failing(function: str) -> str:
    """Return the prefix of the records of a function's failing keys."""
    return f"{FAILING}{function}/"


def workers(function: str) -> str:
    """Return the prefix of the signs of life of a function's workers."""
    return f"{WORKERS}{function}/"


def worker(function: str, owner: str) -> str:
    """Return the key of a worker's sign of life.

    Args:
        owner: its name in claims.
    """
    return f"{workers(function)}{owner}.json"


def messages(service: str) -> str:
    """Return the prefix of a queue's messages."""
    return f"{QUEUE}{service}/"


def outbox(function: str, request_id: str) -> str:
    """Return the key of a request's outbox entry."""
    return f"{OUTBOX}{function}/{request_id}.json"


def usage(day: str, user_id: str = "") -> str:
    """Return the prefix of what was used on a day, by one user or by everybody.

    Args:
        day: of UTC, as in 2026-01-31.
    """
    return f"{USAGE}{day}/{user_id}/" if user_id else f"{USAGE}{day}/"


def usage_record(day: str, user_id: str, figures: str, request_id: str) -> str:
    """Return the key of what one request used; its figures are in the key, so that a listing alone can add them up."""
    return f"{usage(day, user_id)}{figures}.{request_id}.json"


def quota_slots(day: str, user_id: str, function: str) -> str:
    """Return the prefix of the slots that a user's requests to a function have taken on a day."""
    return f"{usage(day, user_id)}slots/{function}-"


def quota_slot(day: str, user_id: str, function: str, number: int) -> str:
    """Return the key of a slot; the request that has created it may run."""
    return f"{quota_slots(day, user_id, function)}{number:06d}.json"


def whose_usage(key: str) -> str:
    """Return the user in the key of a record or slot; empty for any other key."""
    _, _, user_id, *rest = key.split("/") if key.startswith(USAGE) else ("", "", "", "")
    return user_id if rest else ""
