"""Pictures that an application puts into the bucket before it names them in a request."""

import hashlib
import re
import uuid

from pydantic import BaseModel, Field

from shared.buckets import Bucket, sign_put
from shared.contract import keys
from shared.contract.manifests import NOBODY, USER_ID
from shared.errors import InvalidField, PhotogError

SUFFIX = re.compile(r"(?:\.[a-z0-9]{1,8})?")
LONGEST_SECONDS = 7 * 24 * 3600  # of a signed URL, as S3 allows


class SignedUpload(BaseModel):
    """A picture's upload that anybody may make who has the URL, as a browser, until it expires."""

    method: str = Field(description="PUT")
    url: str
    headers: dict[str, str] = Field(description="to send along exactly as they are")
    key: str = Field(description="the picture's reference in requests, once it is uploaded")


class NoSignedUploads(PhotogError):
    """The bucket is no S3 store, so nobody can upload to it without photog; send the picture's bytes instead."""


def store_photo(
    bucket: Bucket, data: bytes, suffix: str = "", user_id: str | None = None, draft: str | None = None
) -> str:
    """Store a picture and return its key, made from its content, so that the same picture is stored once.

    Args:
        suffix: of the file's name, such as .jpg.
        user_id: whose picture it is: it goes when this user is forgotten. None for a picture of nobody known.
        draft: a word for pictures of somebody who has no user_id yet, which are kept apart from all others.

    Raises InvalidField for a suffix or a user_id that cannot be one.
    """
    folder = _folder(user_id) if draft is None else keys.draft_photos(draft)
    key = f"{folder}{hashlib.sha256(data).hexdigest()[:16]}{_require_suffix(suffix)}"
    bucket.put(key, data)  # also if it is there: an old one may expire before the request that will name it
    return key


def sign_upload(
    bucket: Bucket, suffix: str = "", user_id: str | None = None, content_type: str = "image/jpeg", seconds: int = 900
) -> SignedUpload:
    """Return a signed URL by which a picture can be uploaded under a key that nobody can guess.

    Args:
        suffix, user_id: as for `store_photo`.
        content_type: the header that the upload must have.
        seconds: until the URL expires.

    Raises InvalidField, and NoSignedUploads where the bucket is no S3 store.
    """
    key = f"{_folder(user_id)}{uuid.uuid4().hex}{_require_suffix(suffix)}"
    url = sign_put(bucket, key, content_type, max(1, min(seconds, LONGEST_SECONDS)))
    if url is None:
        raise NoSignedUploads(f"{bucket.address} is no S3 store: send the picture's bytes instead")
    return SignedUpload(method="PUT", url=url, headers={"Content-Type": content_type}, key=key)


def _folder(user_id: str | None) -> str:
    if user_id is None:
        return keys.PHOTOS
    if not USER_ID.fullmatch(user_id) or user_id == NOBODY:
        raise InvalidField("user_id: must be 1 to 64 of A-Z a-z 0-9 . _ - and neither . nor .. nor none", "user_id")
    return keys.user_photos(user_id)


def _require_suffix(suffix: str) -> str:
    small = suffix.lower()
    if not SUFFIX.fullmatch(small):
        raise InvalidField("suffix: must be the end of a file's name, such as .jpg", "suffix")
    return small
