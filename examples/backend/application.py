"""A backend for a portrait shop, in one file.

    POST /portraits       the customer's photos and a poster; the order's number
    GET  /portraits/<n>   how far it is, and why it failed
    GET  /portraits/<n>/picture
    POST /webhook         photog says here that an order is done
    GET  /                a page that does all this in a browser

Orders live in a dictionary, where a real shop has its database. The request's id is the order's number, by which the
answer is found again, also by another process.
"""

import secrets
from dataclasses import dataclass
from pathlib import Path

from fastapi import FastAPI, HTTPException, Request, Response, UploadFile
from fastapi.responses import HTMLResponse
from standardwebhooks import Webhook, WebhookVerificationError

from photog import AsyncClient, Client, CompletionEvent, ErrorDetail, GenerateData, RequestFailed

PAGE = Path(__file__).with_name("page.html")


@dataclass
class Order:
    """One portrait."""

    number: str
    state: str = "ordered"
    told: str = ""


class Shop:
    """The orders, and how they are sent and followed."""

    def __init__(self, client: Client) -> None:
        self.orders: dict[str, Order] = {}
        self._client = AsyncClient(client)

    async def order(self, poster: bytes, photos: list[bytes]) -> Order:
        """Send an order; raises `shared.errors.InvalidField` where photog would refuse it."""
        order = Order(secrets.token_hex(8))
        await self._client.generate(
            poster, references=photos, request_id=order.number, metadata={"order": order.number}
        )
        self.orders[order.number] = order
        return order

    async def refresh(self, order: Order) -> Order:
        """Bring an order up to date; a lost webhook thus loses nothing."""
        if order.state in ("done", "failed"):
            return order
        job = self._client.find_job("generate", order.number)
        try:
            answer = await job.answer()
        except RequestFailed as failed:
            order.state, order.told = "failed", describe(failed.error, str(failed.answer.message))
        else:
            if answer is not None:
                order.state = "done"
        return order

    async def picture(self, order: Order) -> bytes:
        """Return the portrait of an order that is done."""
        answer = await self._client.find_job("generate", order.number).answer()
        if answer is None or not isinstance(answer.data, GenerateData):
            raise HTTPException(404, "there is no picture yet")
        return await self._client.read_picture(answer)


def describe(error: ErrorDetail, message: str) -> str:
    """Return what a customer is told: whether waiting helps, or which picture to replace."""
    if error.retryable:
        return f"Please order again in {error.retry_after or 60} seconds."
    return message


def build_application(client: Client, webhook_secret: str) -> FastAPI:
    """Build the backend.

    Args:
        client: `Client.open_bucket(...)` or `Client.open_server(...)`; in tests a FakeClient.
        webhook_secret: `PHOTOG_NOTIFY__WEBHOOK_SECRET` of the workers.
    """
    shop, webhook, app = Shop(client), Webhook(webhook_secret), FastAPI(title="portrait shop")

    def find(number: str) -> Order:
        if number not in shop.orders:
            raise HTTPException(404, "there is no such order")
        return shop.orders[number]

    @app.get("/")
    async def page() -> HTMLResponse:
        return HTMLResponse(PAGE.read_text())

    @app.post("/portraits", status_code=202)
    async def order(poster: UploadFile, photos: list[UploadFile]) -> dict[str, str]:
        made = await shop.order(await poster.read(), [await photo.read() for photo in photos])
        return {"number": made.number}

    @app.get("/portraits/{number}")
    async def state(number: str) -> dict[str, str]:
        order = await shop.refresh(find(number))
        return {"number": order.number, "state": order.state, "told": order.told}

    @app.get("/portraits/{number}/picture")
    async def picture(number: str) -> Response:
        return Response(await shop.picture(find(number)), media_type="image/png")

    @app.post("/webhook", status_code=204)
    async def told(request: Request) -> None:
        body = await request.body()
        try:
            webhook.verify(body, dict(request.headers))
        except WebhookVerificationError as error:
            raise HTTPException(401, "the signature is wrong or old") from error
        event = CompletionEvent.model_validate_json(body)
        if event.subject in shop.orders:  # the same event may come twice, and refreshing twice changes nothing
            await shop.refresh(shop.orders[event.subject])

    return app
