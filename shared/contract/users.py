"""A trained user: what train leaves behind and generate picks up.

Whoever may write into the bucket may write this, too: what is admissible here is what a training can have made.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

MOST_REFERENCES = 64  # trainings leave 20 at most
MOST_BYTES = 4 * 2**20  # of the whole JSON; 20 references have 60 to 300 kB
LANDMARKS = 68

Key = Annotated[str, Field(min_length=1, max_length=1024)]
Name = Annotated[str, Field(max_length=512)]
Pixels = Annotated[float, Field(ge=-100_000, le=100_000)]
Component = Annotated[float, Field(ge=-1000, le=1000)]  # of vectors that have a length of 1 to 40


class ReferenceRecord(BaseModel):
    """One of the person's photos, cropped around the face, with all that was found in it.

    Attributes:
        key: of the PNG in the bucket.
        landmarks: 68 points (x, y) in pixels of that picture.
        box: left, top, right, bottom of the face in that picture.
        embedding: by the engine named in the model; near to the other photos' when it is the same person.
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    key: Key
    landmarks: Annotated[list[tuple[Pixels, Pixels]], Field(min_length=LANDMARKS, max_length=LANDMARKS)]
    box: tuple[Pixels, Pixels, Pixels, Pixels]
    embedding: Annotated[list[Component], Field(min_length=1, max_length=4096)]


class UserModel(BaseModel):
    """Which training serves a user now; `users/<user_id>/model.json`.

    Attributes:
        lora: key of the .safetensors in the bucket.
        base_model: name of the base model that the LoRA belongs to.
        face_engine: name of the engine that made the references' embeddings.
    """

    model_config = ConfigDict(frozen=True, protected_namespaces=(), allow_inf_nan=False)

    user_id: Name
    request_id: Name
    lora: Key
    base_model: Name
    face_engine: Name
    trigger: Name
    references: Annotated[list[ReferenceRecord], Field(min_length=1, max_length=MOST_REFERENCES)]


def model_of(data: dict[str, Any]) -> UserModel:
    """What a training's answer says of its user; KeyError and ValidationError where it is no answer of one."""
    return UserModel(
        user_id=data["user_id"],
        request_id=str(data["request_id"]),
        lora=data["lora"],
        base_model=data["base_model"],
        face_engine=data["face_engine"],
        trigger=data["trigger"],
        references=data["references"],
    )
