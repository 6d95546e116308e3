"""Completion events as signed POSTs, after the Standard Webhooks specification 1.0.

    webhook-id: <event id>   webhook-timestamp: <seconds since 1970>
    webhook-signature: v1,<base64 of HMAC-SHA256(secret, "<id>.<timestamp>.<body>")>

The receiver compares the signature, refuses old timestamps against replay, and drops an id that it has seen.
"""

import base64
import binascii
import hashlib
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime

import httpx
import standardwebhooks

from shared.contract.manifests import Json
from shared.notify import DeliveryFailed

SECRET_PREFIX = "whsec_"


class Webhook:
    """One URL. Any answer but 2xx is no delivery; redirects are not followed, they would carry the event elsewhere."""

    def __init__(self, url: str, secret: str, timeout_seconds: float, clock: Callable[[], float] = time.time) -> None:
        self._url, self._timeout, self._clock = url, timeout_seconds, clock
        self._signer = standardwebhooks.Webhook(_key(secret))
        self.name = f"webhook-{hashlib.sha256(url.encode()).hexdigest()[:12]}"

    def send(self, event: Json) -> None:
        """Post it; Undelivered with what the endpoint said."""
        body, now = json.dumps(event, ensure_ascii=False), int(self._clock())
        headers = {
            "content-type": "application/cloudevents+json; charset=utf-8",
            "webhook-id": event["id"],
            "webhook-timestamp": str(now),
            "webhook-signature": self._signer.sign(event["id"], datetime.fromtimestamp(now, UTC), body),
        }
        where = f"{self.name} ({httpx.URL(self._url).host})"
        try:
            answer = httpx.post(self._url, content=body.encode(), headers=headers, timeout=self._timeout)
        except httpx.HTTPError as error:
            raise DeliveryFailed(f"{where}: {type(error).__name__} {error}") from error
        if not answer.is_success:
            raise DeliveryFailed(f"{where} answered {answer.status_code}")


def _key(secret: str) -> bytes:
    """The secret's bytes, read here: the library skips characters that are not base64, and signs with another key."""
    try:
        encoded = secret.startswith(SECRET_PREFIX)
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True) if encoded else secret.encode()
    except binascii.Error as error:
        raise ValueError("PHOTOG_NOTIFY__WEBHOOK_SECRET begins with whsec_ but what follows is not base64") from error
    if not key:
        raise ValueError("PHOTOG_NOTIFY__WEBHOOK_SECRET is empty")
    return key
