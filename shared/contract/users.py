"""A user: the record that train writes, and generate for people whose references it keeps; generate reads it.

Anybody who may write into the bucket may write this record too, so only what photog can have made is accepted.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

MOST_REFERENCES = 64  # trainings write at most 20
MOST_BYTES = 4 * 2**20  # of the whole JSON; 20 references have 60 to 300 kB
LANDMARKS = 68

Key = Annotated[str, Field(min_length=1, max_length=1024)]
Name = Annotated[str, Field(max_length=512)]
Pixels = Annotated[float, Field(ge=-100_000, le=100_000)]
Component = Annotated[float, Field(ge=-1000, le=1000)]  # of vectors with a norm of 1 to 40


class ReferenceRecord(BaseModel):
    """One of the person's photos, cropped around the face, with what was measured in it.

    Attributes:
        key: key of the PNG in the bucket.
        landmarks: 68 points (x, y) in pixels of that picture.
        box: left, top, right, bottom of the face in pixels of that picture.
        embedding: made by the engine that the model names; close to those of the other photos of the same person.
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    key: Key
    landmarks: Annotated[list[tuple[Pixels, Pixels]], Field(min_length=LANDMARKS, max_length=LANDMARKS)]
    box: tuple[Pixels, Pixels, Pixels, Pixels]
    embedding: Annotated[list[Component], Field(min_length=1, max_length=4096)]


class UserModel(BaseModel):
    """What serves a user now: `users/<user_id>/model.json`.

    Attributes:
        request_id: of the request that made it, a training's or a portrait's.
        lora: key of the .safetensors file in the bucket; None if the photos were kept without a training.
        base_model: name of the base model that the LoRA belongs to.
        face_engine: name of the engine that made the references' embeddings.
    """

    model_config = ConfigDict(frozen=True, protected_namespaces=(), allow_inf_nan=False)

    user_id: Name
    request_id: Name
    lora: Key | None
    base_model: Name
    face_engine: Name
    trigger: Name
    references: Annotated[list[ReferenceRecord], Field(min_length=1, max_length=MOST_REFERENCES)]

    @property
    def evidence(self) -> str:
        """Key of an object that exists as long as the user does: the LoRA, or the first photo where there is none."""
        return self.references[0].key if self.lora is None else self.lora


def model_of(data: dict[str, Any]) -> UserModel:
    """Return the user model in the data of a training's answer.

    Raises KeyError or ValidationError if the data is not a training's.
    """
    return UserModel(
        user_id=data["user_id"],
        request_id=str(data["request_id"]),
        lora=data["lora"],
        base_model=data["base_model"],
        face_engine=data["face_engine"],
        trigger=data["trigger"],
        references=data["references"],
    )
