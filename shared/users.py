"""A trained user: what train leaves behind and generate picks up."""

from pydantic import BaseModel, ConfigDict


class Reference(BaseModel):
    """One of the person's photos, cropped around the face, with all that was found in it.

    Attributes:
        key: of the PNG in the bucket.
        landmarks: 68 points (x, y) in pixels of that picture.
        box: left, top, right, bottom of the face in that picture.
        embedding: by the engine named in the model; near to the other photos' when it is the same person.
    """

    model_config = ConfigDict(frozen=True)

    key: str
    landmarks: list[tuple[float, float]]
    box: tuple[float, float, float, float]
    embedding: list[float]


class UserModel(BaseModel):
    """Which training serves a user now; `users/<user_id>/model.json`.

    Attributes:
        lora: key of the .safetensors in the bucket.
        base_model: name of the base model that the LoRA belongs to.
        face_engine: name of the engine that made the references' embeddings.
    """

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    user_id: str
    request_id: str
    lora: str
    base_model: str
    face_engine: str
    trigger: str
    references: list[Reference]


def model_key(user_id: str) -> str:
    """Where the bucket says which training serves this user."""
    return f"users/{user_id}/model.json"
