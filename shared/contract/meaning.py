"""The meaning of a body, however it is written: two bodies with the same meaning are the same request.

| written | means |
|---|---|
| a member that is null, `configure` or `metadata` that is `{}`, `strict` that is false | the same without it |
| a knob at its default | the same without it |
| `777` as the id | `"777"` |
| `1` for a fraction | `1.0` |
| in generate, `model_id`, and a list of one person | `user_id`, and that person |
| in generate, `references` that are one picture, a list of one list, or empty | a list, that list, and no references |

Nothing else is the same: `400.0` steps are refused while `400` are not, and an unknown member causes a warning.
"""

from typing import Any

DEFAULTS: dict[str, Any] = {
    "face_reconize": False,
    "another_person": "warn",
    "sex": "secret",
    "max_train_steps": 400,
    "val_save_checkpointing_steps": 50,
    "first_diffusion_steps": 50,
    "first_denoising_strength": 0.45,
    "second_diffusion_steps": 20,
    "second_denoising_strength": 0.30,
    "more_like_me_before": 0.50,
    "more_like_me": 0.50,
    "apply_face_fusion_before": True,
    "apply_face_fusion_after": True,
    "mask_region": "edge",
    "crop_face_preprocess": True,
    "color_shift_middle": True,
    "color_shift_last": True,
    "background_restore": False,
    "skin_retouching_bool": True,
    "photo_enhancement_bool": True,
    "photo_enhancement_method": "photo_fix",
    "makeup_transfer": False,
    "makeup_transfer_ratio": 0.50,
    "image_format": "base64",
    "additional_prompt": "",
    "references": [],
}
"""Defaults of all functions; a knob that two of them share has one default. Knobs that default to null are left out."""

LARGEST = 2**53  # up to here a float represents every whole number


def meant(body: dict[str, Any], request_id: str) -> dict[str, Any]:
    """Return the body in its canonical form."""
    plain = {name: value for name, value in meant_before(body, request_id).items() if not _is_idle(name, value)}
    configure = plain.get("configure")
    if not isinstance(configure, dict):
        return plain
    knobs = {name: _as_float(name, value) for name, value in configure.items()}
    knobs = {name: value for name, value in knobs.items() if not _is_default(name, value)}
    if "template_image" in plain:
        knobs = _unify_people(knobs)
    return {name: value for name, value in plain.items() if name != "configure"} | (
        {"configure": knobs} if knobs else {}
    )


def meant_before(body: dict[str, Any], request_id: str) -> dict[str, Any]:
    """Return the canonical form of earlier versions, which kept knobs at their defaults; older claims have its hash."""
    plain: dict[str, Any] = without_nulls(body) | {"request_id": request_id}
    if plain.get("configure") == {}:
        del plain["configure"]
    return plain


def without_nulls(value: Any) -> Any:
    """Return the value without members that are null, which mean the same as absent ones. A null in a list stays."""
    if isinstance(value, dict):
        return {name: without_nulls(one) for name, one in value.items() if one is not None}
    return [without_nulls(one) for one in value] if isinstance(value, list) else value


def _is_idle(name: str, value: Any) -> bool:
    """Return whether a member besides the knobs is the same as absent."""
    return (name == "metadata" and value == {}) or (name == "strict" and value is False)


def _as_float(name: str, value: Any) -> Any:
    is_whole = isinstance(value, int) and not isinstance(value, bool) and abs(value) < LARGEST
    is_fraction = isinstance(value, float)
    return value + 0.0 if isinstance(DEFAULTS.get(name), float) and (is_whole or is_fraction) else value


def _is_default(name: str, value: Any) -> bool:
    """Return whether the value is the default with the same type: 0 in place of false is refused."""
    return name in DEFAULTS and type(value) is type(DEFAULTS[name]) and value == DEFAULTS[name]


def _unify_people(knobs: dict[str, Any]) -> dict[str, Any]:
    """Rename `model_id` to `user_id`, and turn a list of one id into a string."""
    if "user_id" not in knobs and "model_id" in knobs:
        knobs = {"user_id" if name == "model_id" else name: value for name, value in knobs.items()}
    people = knobs.get("user_id")
    if isinstance(people, list) and len(people) == 1 and isinstance(people[0], str | None):
        knobs = knobs | {"user_id": people[0]}
    if "references" in knobs:
        knobs = knobs | {"references": _unify_references(knobs["references"])}
    return without_nulls(knobs)  # type: ignore[no-any-return]


def _unify_references(given: Any) -> Any:
    """Return references as a list of pictures, or of one list per face; None if there are none."""
    if isinstance(given, str):
        return [given]
    if not isinstance(given, list):
        return given
    lists = [[] if one is None else one for one in given]
    if len(lists) == 1 and isinstance(lists[0], list):
        lists = lists[0]
    return None if all(one == [] for one in lists) else lists
