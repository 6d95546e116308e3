"""Every English text of the page, in one file, so that it can be translated."""

PRODUCT = "photog"
PORTRAITS, PEOPLE, OPERATION = "Portraits", "People", "Operation"
NAVIGATION = "Main"
SWITCH_THEME = "Switch between light and dark"
LOG_OUT = "Log out"

# --- access ---------------------------------------------------------------------------------------------------------

LOGIN_TITLE = "photog"
TOKEN = "Access token"
LOG_IN = "Log in"
LOGIN_FIRST = "log in first"
WRONG_TOKEN = "That is not the token. It is the value of PHOTOG_TOKEN on the server."
WRONG_HOST = "this page is only for this machine; open it as http://127.0.0.1:PORT or http://localhost:PORT"
OTHER_SITE = "this call comes from another site, so it is refused"
NO_LENGTH = "send the length of the body"


def too_many_tries(seconds: float) -> str:
    return f"Too many wrong tokens. Try again in {int(seconds) + 1} seconds."


def too_large(most: int) -> str:
    return f"larger than {most / 2**20:.0f} MB"


# --- photos ---------------------------------------------------------------------------------------------------------

PHOTOS = "Photos"
PHOTOS_HINT = "1 to 20 photos of one person, 5 or more for a training. Each is checked as soon as it is here."
DROP = "Drop photos here or choose them"
CHECKING = "Checking…"
GOOD, FAIR = "Good", "Usable"
UNUSABLE = "Not usable"
PHOTO_GONE = "One of these photos was removed from the bucket meanwhile. Drop it here again."
NO_PICTURE = "there is no such picture"


def remove_photo(name: str) -> str:
    return f"Remove {name}"


def tell_rejected(name: str, reason: str) -> str:
    return f"{name}: {reason}"


def refused_files(limit: int) -> str:
    return f"Some files were not taken: only pictures of up to {limit / 2**20:.0f} MB, 20 at once."


def sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def photo_count(usable: int, total: int) -> str:
    return f"{usable} of {total} usable"


NO_FACE = "No face found", "Choose a photo in which the whole face can be seen."
TWO_FACES = "Two faces", "Crop one out."
CUT_FACE = "Face cut off", "Choose a photo with the whole face inside."
UPSIDE_DOWN = "Turn the photo", "It lies on its side or upside down."
UNREADABLE = "Cannot be read", "Save it as JPEG or PNG and drop it again."
UNMEASURED = "Face not recognized", "Choose a sharper photo, taken more from the front."
STRANGER = "Someone else", "This is not the person of the other photos. Remove it."
FAULTS = {2: UNREADABLE, 4: UNMEASURED, 5: UNMEASURED, 6: STRANGER}


def several_faces(count: int) -> tuple[str, str]:
    return f"{count} faces", "Crop the others out, so that one face is left."


ADVICE = {
    "smaller than": "A larger photo would be better.",
    "pixels wide": "Come closer: the face is small.",
    "blurred": "The face is blurred; a sharper photo would be better.",
    "too dark": "The face is dark; more light would be better.",
    "too bright or too dark": "Parts of the face are overexposed or in deep shadow.",
    "same photo as": "The same photo is here twice; both count once.",
    "much smaller faces": "Faces in the background are ignored.",
}  # by a part of the worker's sentence

# --- person ---------------------------------------------------------------------------------------------------------

PERSON = "Person"
PERSON_HINT = "A name keeps the face for later portraits. Without one, only the portrait stays."
NAME = "Name"
NAME_PLACEHOLDER = "for example Anna"
KNOWN = "Or someone who is here already"
NOBODY_CHOSEN = "Nobody"
WRONG_NAME = "Use letters or digits."


def tell_id(user_id: str) -> str:
    return f"Kept as {user_id}"


# --- template -------------------------------------------------------------------------------------------------------

TEMPLATE = "Template"
TEMPLATE_HINT = "The picture that gets the face. Choose one or several."
DROP_TEMPLATE = "Add your own picture"
NO_TEMPLATES = "Pictures that an operator puts into templates/ of the bucket are shown here."


def template_label(name: str) -> str:
    return f"Template {name}"


WAIT_TEMPLATE = "Looking for the faces in the template…"
EMPTY_TEMPLATE = "No face was found in this template. Choose another one."
NEED_SOMEBODY = "Choose a person for at least one face of each template."
THIS_PERSON = "The person above"
KEEP_FACE = "Nobody: leave this face as it is"


def this_person(name: str) -> str:
    return f"{name} (the person above)" if name else THIS_PERSON


def who_is_who(name: str, faces: int) -> str:
    return f"Who takes the {faces} faces of {name}?"


def face_label(number: int) -> str:
    return f"Face {number} from the left"


# --- knobs ----------------------------------------------------------------------------------------------------------

KNOBS = "Fine-tuning"
KNOBS_HINT = "The defaults are good. Every setting says what it does."
RESET = "Reset to defaults"
SEED = "Seed"
SEED_HINT = "The same seed gives the same picture. Empty: a new one each time."
VARIANTS = "Variants"
VARIANTS_HINT = "So many portraits of each template, each with its own seed."
GROUPS = ("Likeness", "Repainting", "Color and skin", "Scene")
KNOB = {
    "more_like_me_before": ("Likeness before repainting", "How much of the person's face is blended in first."),
    "apply_face_fusion_before": ("Blend before repainting", "Whether the first blending is done."),
    "more_like_me": ("Likeness at the end", "How much of the person's face is blended in last. Higher is more alike."),
    "apply_face_fusion_after": ("Blend at the end", "Whether the second blending is done."),
    "first_diffusion_steps": ("Steps, first pass", "More steps are finer and slower."),
    "first_denoising_strength": ("Strength, first pass", "How much of the face is repainted."),
    "second_diffusion_steps": ("Steps, second pass", "More steps are finer and slower."),
    "second_denoising_strength": ("Strength, second pass", "How much of the blended face is repainted."),
    "mask_region": ("Repaint in the second pass", "The rim, eyes and lips, or the whole face."),
    "crop_face_preprocess": ("Work on the face alone", "Off: the whole template is repainted at once."),
    "color_shift_middle": ("Match color after the first pass", "Brings the face's color to the template's."),
    "color_shift_last": ("Match color at the end", "The same after the second pass."),
    "skin_retouching_bool": ("Smooth skin", "Blotches fade; moles, scars and pores stay."),
    "photo_enhancement_bool": ("Sharpen the face", "Brings its detail up to the template's."),
    "photo_enhancement_method": ("Way of sharpening", "Detail of the face, or the whole picture at twice its size."),
    "makeup_transfer": ("Carry make-up over", "Lips, lids and cheeks get the template's colors."),
    "makeup_transfer_ratio": ("Amount of make-up", "0 carries nothing, 1 everything."),
    "background_restore": ("Repaint the background", "Everything but the people. Needs a large model."),
    "additional_prompt": ("More words", "Added to the description that the model paints by."),
}
ON, OFF, NONE = "on", "off", "none"
CHOICES = {
    "edge": "Rim, eyes and lips",
    "face": "Whole face",
    "photo_fix": "Detail of the face",
    "super_resolution": "Twice the size",
}


def default_of(value: str) -> str:
    return f"Default: {value}."


# --- making ---------------------------------------------------------------------------------------------------------

MAKE = "Make portrait"
TRAIN = "Train on these photos"
TRAIN_STEPS = "Training steps"
PORTRAIT = "Portrait"
EMPTY_TITLE = "Your portrait appears here"
EMPTY = "Add photos or choose a person, then a template."
NEED_FACE = "Add a usable photo, or choose a person."
NEED_TEMPLATE = "Choose a template."
WAIT_CHECKS = "Wait until the photos are checked."
NEED_NAME = "Give the person a name first."
WAITING = "Waiting for a worker"
BUSY_WORKER = "The worker is loading its models, or busy with an earlier request."
NO_WORKER = "All workers are busy, or none is running: they are started by `photog up`, or by this page with --workers."
BEFORE, AFTER = "Template", "Portrait"
COMPARE = "Compare template and portrait"
DOWNLOAD = "Download"
FULL_SIZE, CLOSE = "Full size", "Close"
AGAIN = "Same settings again"
STAGES = "Step by step"
STOP = "Stop"
TRAINING = "Training"
LOSS, LIKENESS = "Loss", "Likeness"
STEP = "Step"
BASE_MODEL = "Before"
VALIDATION = "Test portraits by step, with their likeness"
CURVE = "Loss by training step"
LIKENESS_LABEL = "Likeness"
ALIKE = ((0.6, "clearly the same person"), (0.5, "the same person"), (0.39, "alike"), (0.0, "not much alike"))
STAGE_NAMES = {
    "template": "Looking at the template",
    "training": "Training",
    "latents": "Preparing the photos",
    "saving": "Saving",
    "photos": "Looking at the photos",
}
FAILURES = {
    "UnsuitableFace": (
        "A face of this template cannot be used",
        "Choose another template, or leave that face as it is.",
    ),
    "NoFaceInTemplate": ("No face found in this template", "Choose a picture in which the whole face can be seen."),
    "FaceCountMismatch": (
        "The faces of this template have changed",
        "Choose the template again, then a person for each face.",
    ),
    "NoUsableReference": ("None of the photos can be used", "Add a sharper photo in which the whole face can be seen."),
    "AnotherPerson": (
        "These photos show somebody else than the person of this name",
        "Choose another name. If this name is to be theirs from now on, replace the person: "
        "portraits of the one who is known now can then no longer be made.",
    ),
    "TooFewPhotos": ("Too few usable photos", "A training needs five or more different photos of the person."),
    "UnknownUser": ("This person is not known any more", "Add photos of the person."),
    "Forgotten": ("This person was forgotten meanwhile", "Nothing of the request is kept."),
    "RequestCanceled": ("Stopped", "Nothing of it is kept."),
    "PhotoUnavailable": ("A picture is gone", "Drop the photo or the template here again."),
    "PhotoUndecodable": ("A picture cannot be read", "Save it as JPEG or PNG and drop it again."),
    "PhotoTooLarge": ("A picture is too large", "Make it smaller and drop it again."),
    "PhotoError": ("A picture cannot be used", "Choose another one."),
    "InvalidField": ("A setting cannot be used", "Change it, or reset the fine-tuning to its defaults."),
    "TrainingDiverged": ("The training failed", "Tell whoever runs the workers: their learning rate is too high."),
    "OutOfMemory": ("The worker has too little memory", "Try again in a minute, or choose a smaller template."),
    "QuotaExceeded": ("The quota is used up", "Try again later, or ask whoever runs photog for more."),
    "DeadlineExceeded": ("It took too long", "Try again, with fewer steps."),
}
"""Title and advice by type of error."""
FAILED_ADVICE = "Try again in a minute. If it fails again, tell whoever runs the workers."
DETAILS = "What the worker said"
REPLACE_PERSON = "Replace the person"


WARNINGS = {
    "adds less likeness to portraits than another seed": (
        "With the small built-in model a training adds little: the likeness comes from the photos. "
        "It pays with a Stable Diffusion base model."
    ),
}  # by a part of the worker's sentence


def warning(text: str) -> str:
    """Return a worker's warning in words for a person, where there are such."""
    return next((words for part, words in WARNINGS.items() if part in text), sentence(text))


def need_photos(needed: int, usable: int) -> str:
    return (
        f"A training needs {needed} usable photos or more; there {'is' if usable == 1 else 'are'} {usable or 'none'}."
    )


def likeness(value: float) -> str:
    return next(words for least, words in ALIKE if value >= least)


def seconds_left(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s left"
    return f"{seconds / 60:.0f} min left"


def stage_name(stage: str) -> str:
    return STAGE_NAMES.get(stage, stage.replace("_", " ").replace("-", " ").capitalize())


def portrait_of(number: int, seed: int | None) -> str:
    return f"Portrait {number}" + (f", seed {seed}" if seed is not None else "")


def seed_text(seed: int) -> str:
    return f"Seed {seed}"


def step_name(step: int) -> str:
    return f"{STEP} {step}" if step else BASE_MODEL


def validation_of(step: int) -> str:
    return f"Test portraits, {step_name(step).lower()}"


def trained_text(best: int, similarity: float | None) -> str:
    return f"Done. The best step is {best}" + (f", likeness {similarity:.2f}." if similarity is not None else ".")


# --- people ---------------------------------------------------------------------------------------------------------

NO_PEOPLE = "Nobody is kept yet"
NO_PEOPLE_HINT = "Give a person a name when you make a portrait or train."
TRAINED, INSTANT, UPLOADED = "Trained", "Photos kept", "Photos uploaded, no portrait or training yet"
PORTRAITS_OF, TRAININGS_OF = "Portraits", "Trainings"
MAKE_WITH = "Make a portrait"
FORGET = "Forget"
CANCEL = "Cancel"
FORGET_NOW = "Forget everything"
FORGETTING = "Removing everything…"
NOTHING_REMAINS = "Nothing remains"
DONE = "Done"


def forget_question(user_id: str) -> str:
    return f"Forget {user_id}?"


def forget_explained(user_id: str) -> str:
    return (
        f"Photos, trainings, portraits, requests and answers of {user_id} are removed from the bucket for good. "
        "Templates stay."
    )


def forget_done(user_id: str, removed: int) -> str:
    return f"{removed} objects of {user_id} were removed, and a new search of the whole bucket found nothing more."


def forget_left(remaining: int) -> str:
    return f"{remaining} objects could not be removed:"


def photos_kept(count: int) -> str:
    return "1 photo" if count == 1 else f"{count} photos"


# --- operation ------------------------------------------------------------------------------------------------------

STATE_NAMES = {
    "": "All",
    "waiting": "Waiting",
    "running": "Running",
    "ok": "Answered",
    "failed": "Failed",
    "conflict": "Conflicts",
    "dead": "Dead letters",
    "answered": "Not read yet",
}
FUNCTION_NAMES = {"check": "Check", "train": "Train", "generate": "Generate"}
SEARCH = "Search by request or person"
REQUESTS, REQUEST = "Requests", "Request"
FUNCTION, STATE, USER, WRITTEN, TOOK = "Function", "State", "Person", "Sent", "Took"
PREVIOUS, NEXT = "Newer", "Older"
NO_REQUESTS = "No requests match."
LISTING = "Reading the bucket…"
WORKERS = "Workers"
NO_WORKERS = "No worker is alive. Start some: photog up BUCKET, or this page with --workers."
STARTING_WORKER = "loading its models"
TROUBLES_HINT = "Files that workers try again and again, and files that nobody reads as a request."
ERRORS = "Errors"
OLDEST = "Oldest waiting"
THROUGHPUT = "Answers per ten minutes"
LATENCY = "Seconds from request to answer"
MEDIAN, P95 = "median", "95 %"
ANSWERS_OK, ANSWERS_FAILED = "answered", "failed"
MANIFEST, CLAIMS, PROGRESS, RESULT, ARTIFACTS, EVENTS = "Request", "Attempts", "Progress", "Answer", "Files", "Events"
RETRY = "Send again under a new id"
REDRIVE = "Redrive dead letters"
REDRIVE_HINT = "Puts the messages of a dead-letter queue back into the queue that workers poll."
FROM_QUEUE, TO_QUEUE = "URL of the dead-letter queue", "URL of the workers' queue"
MOVE = "Move messages"
NEED_QUEUES = "Give the addresses of both queues, and of two different ones."
BACK = "All requests"
NOTHING = "Nothing yet."
OUTBOX_EMPTY = "No event waits to be delivered."
UNKNOWN_REQUEST = "The bucket has nothing of this request."
NO_MANIFEST = "The manifest is gone."


def idle_worker(function: str) -> str:
    return f"{function} · idle"


def troubles(count: int) -> str:
    return "1 file cannot be served" if count == 1 else f"{count} files cannot be served"


def more_troubles(count: int) -> str:
    return f"And {count} more: photog status BUCKET lists them all."


def tell_tries(tries: int, seconds: float) -> str:
    return f"{'Tried once' if tries == 1 else f'Tried {tries} times'}, first {ago(seconds)} ago"


def tell_moved(count: int) -> str:
    return "No message of this function is in that queue." if not count else f"{count} messages moved."


def in_outbox(pending: str) -> str:
    return f"Still in the outbox, for: {pending}"


def tell_delivered(where: str) -> str:
    return f"Delivered: {where}"


def tell_sent_again(request_id: str) -> str:
    return f"Sent again as {request_id}."


def page_of(first: int, last: int, total: int) -> str:
    return f"{first:,} to {last:,} of {total:,}" if total else "0"


def unreadable_note(folders: list[str]) -> str:
    """Return what is missing from the list because folders of the bucket cannot be read."""
    return f"Requests in {', '.join(folders[:5])} are missing: the folder cannot be read."


def unread_note(count: int) -> str:
    return f"{count:,} old answers have not been read yet; they are found by id, and by person once they were read."


RELEASED = "released"


def beat(number: int) -> str:
    return f"beat {number}"


def size(count: int) -> str:
    return f"{count:,} B"


def took(seconds: float) -> str:
    return f"{max(0.0, seconds):.1f} s"


def attempt(number: int, owner: str) -> str:
    return f"Attempt {number} by {owner or 'an unknown worker'}"


def ago(seconds: float) -> str:
    if seconds < 0:
        return "now"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def store_failed(reason: str) -> str:
    return f"The bucket does not answer: {reason}"
