"""The person who is known under a user_id, compared with the photos that would take their place.

| mean distance to the known photos, over `same_person` | likeness | what is said of the photos |
|---|---|---|
| below 1 | above 0.50 | nothing: one person |
| 1 to 1.1 | 0.45 to 0.50 | doubtful: a warning, since years or a beard can make as much |
| 1.1 and more | 0.45 and less | another person: what the request says about that happens |
| cannot be measured | None | a warning |

The mean over all pairs is what tells people apart within one request too (`identity_clustering.py`); a bad photo on
either side hardly moves it. The benchmark's photos of one person have a mean of 0.23 to 0.43 with the default engine, a
brother and a sister 0.63, and of a thousand pairs of strangers one is nearer than 1.1 of its threshold.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shared.contract import keys
from shared.contract.request import IfAnotherPerson
from shared.contract.user_model import find_user, read_moment
from shared.contract.users import UserModel
from shared.contract.workspace import Workspace
from shared.errors import AnotherPerson
from shared.faces import FaceEngine
from shared.faces.base import similarity
from shared.imaging.array_types import Embedding
from shared.photos.person_photos import judge_reference
from shared.settings import Limits

ONE_PERSON = 0.5  # likeness: the engine's threshold, see `shared.faces.base.similarity`
DOUBTFUL = 0.45  # likeness at 1.1 of the threshold
MOST_MEASURED = 5  # of the known photos, the best ones, that are measured anew if another engine made their vectors


@dataclass(frozen=True)
class KnownPerson:
    """Whoever is known under the user_id of a request with photos.

    Attributes:
        user_id: the id.
        model: what serves the user; None if nobody is known, or nobody who can be used.
        moment: of the answer that made the model, see `shared.contract.user_model.StoredUser`.
        likeness: of the photos to the known ones, in [0, 1]; None if nobody is known, or it cannot be measured.
    """

    user_id: str
    model: UserModel | None = None
    moment: float = 0.0
    likeness: float | None = None

    @property
    def is_another(self) -> bool:
        """Whether the photos show somebody else than the person who is known."""
        return self.likeness is not None and self.likeness <= DOUBTFUL


def compare_with_known(
    user_id: str, photos: Sequence[Embedding], workspace: Workspace, engine: FaceEngine, limits: Limits
) -> KnownPerson:
    """Read who is known under an id, and measure how like them some photos are.

    Args:
        photos: face vectors of the engine, at least one.
        limits: limits of the known photos, which are read only if another engine has made their vectors.
    """
    if workspace.etag(keys.model(user_id)) is None:  # looking for nobody's trainings costs more than a training's start
        return KnownPerson(user_id)
    stored = find_user(user_id, workspace)
    if stored.model is None:
        return KnownPerson(user_id, None, stored.moment)
    vectors = _list_vectors(stored.model, workspace, engine, limits)
    known = [vector for vector in vectors if len(vector) == len(photos[0])]
    if not known:
        return KnownPerson(user_id, stored.model, stored.moment)
    apart = float(np.mean([[engine.distance(a, b) for b in known] for a in photos]))
    return KnownPerson(user_id, stored.model, stored.moment, round(similarity(engine, apart), 3))


def compare_again(
    known: KnownPerson, photos: Sequence[Embedding], workspace: Workspace, engine: FaceEngine, limits: Limits
) -> KnownPerson:
    """Return who is known at the end of the work: as at its start, unless another answer took the id meanwhile."""
    if read_moment(known.user_id, workspace) == known.moment:
        return known
    return compare_with_known(known.user_id, photos, workspace, engine, limits)


def judge_replacement(
    known: KnownPerson, wanted: IfAnotherPerson, field: str, outcome: str = "and take their place"
) -> list[str]:
    """Return warnings if the photos do not, or may not, show the person who is known under their id.

    Args:
        wanted: what the request says about photos of another person.
        field: the field with the photos, for the error.
        outcome: what happens to the person who is known if nothing is refused, for the warning.

    Raises AnotherPerson if they do not and the request refuses that.
    """
    if known.model is None or wanted == "replace":
        return []
    who, like = known.user_id, f"{known.likeness} of at least {ONE_PERSON}"
    if known.likeness is None:
        return [f"whether these photos show the {who} who is known was not compared: no known photo can be measured"]
    if not known.is_another:
        doubt = f"these photos may not show the {who} who is known (likeness {like}): look at them"
        return [doubt] if known.likeness < ONE_PERSON else []
    told = f"these photos show somebody else than the {who} who is known (likeness {like})"
    if wanted == "refuse":
        raise AnotherPerson(
            f'{told}: choose another user_id, or send configure.another_person "replace" to give {who} up for them',
            field,
        )
    return [f"{told}, {outcome}"]


def judge_references(known: KnownPerson, wanted: IfAnotherPerson, field: str) -> list[str]:
    """Return the warnings of `judge_replacement` about the references of a portrait, which replace no training."""
    trained = known.model is not None and known.model.lora is not None
    outcome = "whose training stays" if trained else "and take their place"
    return [f"{field}: {doubt}" for doubt in judge_replacement(known, wanted, field, outcome)]


def _list_vectors(model: UserModel, workspace: Workspace, engine: FaceEngine, limits: Limits) -> list[Embedding]:
    """Return vectors of the known photos by this engine, as far as they can be had."""
    if model.face_engine == engine.name:
        return [np.array(one.embedding) for one in model.references]
    files = workspace.fetch([one.key for one in model.references[:MOST_MEASURED]])
    verdicts = (judge_reference(file, engine, limits).verdict for file in files)
    return [verdict.embedding for verdict in verdicts if verdict.embedding is not None]
