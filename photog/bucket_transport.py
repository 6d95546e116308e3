"""The client's way over a bucket: requests are manifests in it, answers are objects."""

from shared.buckets import open_bucket
from shared.buckets.base import Bucket
from shared.contract import keys
from shared.contract.manifests import Json, decode
from shared.operations.cancellation import Cancellation
from shared.operations.client import Client as BucketClient
from shared.operations.uploads import SignedUpload, sign_upload, store_photo
from shared.operations.user_requests import list_requests
from shared.settings import Settings


class BucketTransport:
    """One bucket; implements `photog.transport.Transport`."""

    def __init__(self, bucket: Bucket, settings: Settings) -> None:
        self.bucket = bucket
        self._settings, self._client = settings, BucketClient(bucket)

    @classmethod
    def open(cls, address: str, settings: Settings | None = None) -> "BucketTransport":
        """Open a folder or an `s3://` address; None reads the settings from the environment, as workers do."""
        settings = settings or Settings()
        return cls(open_bucket(address, settings.s3), settings)

    def submit(self, function: str, body: Json) -> str:
        """Write the manifest."""
        return self._client.submit(function, body)

    def look(self, function: str, request_id: str) -> Json | None:
        """Read the answer, or the progress."""
        answer = self._client.answer(function, request_id)
        if answer is not None:
            return answer
        text = self.bucket.find(keys.progress(function, request_id))
        try:
            return None if text is None else decode(text)
        except ValueError:
            return None  # somebody else's object; the answer will tell

    def cancel(self, function: str, request_id: str) -> Json:
        """Answer the request with RequestCanceled; raises UnknownRequest.

        No event is sent to webhooks or topics, since their secrets are the workers'.
        """
        return Cancellation(self.bucket, function, self._settings).cancel(request_id)

    def list_requests(self, user_id: str) -> list[Json]:
        """Read the bucket for a user's requests."""
        return list_requests(self.bucket, user_id, self._settings)

    def upload(self, data: bytes, suffix: str, user_id: str | None) -> str:
        """Copy the picture into the bucket."""
        return store_photo(self.bucket, data, suffix, user_id)

    def sign_upload(self, suffix: str, user_id: str | None, content_type: str, seconds: int) -> SignedUpload:
        """Sign an upload to S3; raises NoSignedUploads for a folder."""
        return sign_upload(self.bucket, suffix, user_id, content_type, seconds)

    def read(self, key: str) -> bytes:
        """Read an object."""
        return self.bucket.get(key)
