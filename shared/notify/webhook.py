"""Completion events as signed POSTs, following the Standard Webhooks specification 1.0.

    webhook-id: <event id>   webhook-timestamp: <seconds since 1970>
    webhook-signature: v1,<base64 of HMAC-SHA256(secret, "<id>.<timestamp>.<body>")>

The receiver checks the signature, rejects old timestamps to prevent replay, and drops ids that it has seen.
"""

import base64
import binascii
import hashlib
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime

import standardwebhooks

from shared.contract.manifests import Json
from shared.contract.trace_context import TRACEPARENT
from shared.notify import DeliveryFailed

SECRET_PREFIX = "whsec_"


class Webhook:
    """One URL. Any answer but 2xx is a failure; redirects are not followed, as they would send the event elsewhere."""

    def __init__(self, url: str, secret: str, timeout_seconds: float, clock: Callable[[], float] = time.time) -> None:
        self._url, self._timeout, self._clock = url, timeout_seconds, clock
        self._signer = standardwebhooks.Webhook(_key(secret))
        self.name = f"webhook-{hashlib.sha256(url.encode()).hexdigest()[:12]}"

    def send(self, event: Json) -> None:
        """Post the event; raises DeliveryFailed with the endpoint's status or the error."""
        body, now = json.dumps(event, ensure_ascii=False), int(self._clock())
        headers = {
            "content-type": "application/cloudevents+json; charset=utf-8",
            "webhook-id": event["id"],
            "webhook-timestamp": str(now),
            "webhook-signature": self._signer.sign(event["id"], datetime.fromtimestamp(now, UTC), body),
        }
        headers |= {TRACEPARENT: event[TRACEPARENT]} if TRACEPARENT in event else {}
        import httpx  # here, since commands and workers that send nothing do without it

        where = f"{self.name} ({httpx.URL(self._url).host})"
        try:
            answer = httpx.post(self._url, content=body.encode(), headers=headers, timeout=self._timeout)
        except httpx.HTTPError as error:
            raise DeliveryFailed(f"{where}: {type(error).__name__} {error}") from error
        if not answer.is_success:
            raise DeliveryFailed(f"{where} answered {answer.status_code}")


def _key(secret: str) -> bytes:
    """Decode the secret; the library would skip characters that are not base64, and sign with another key."""
    try:
        encoded = secret.startswith(SECRET_PREFIX)
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True) if encoded else secret.encode()
    except binascii.Error as error:
        raise ValueError("PHOTOG_NOTIFY__WEBHOOK_SECRET begins with whsec_, but the rest is not base64") from error
    if not key:
        raise ValueError("PHOTOG_NOTIFY__WEBHOOK_SECRET is empty")
    return key
