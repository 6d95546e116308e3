"""The asynchronous client: the same calls, to be awaited. What waits for the network waits in threads."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar, Unpack

from photog.client import Client, Job, Metadata, Picture, Watch, read_answer
from photog.knobs import GenerateKnobs, TrainKnobs
from shared.contract.answers import Answer, AnswerData, CheckData, GenerateData, ProgressData, TrainData
from shared.contract.manifests import Json
from shared.operations.uploads import SignedUpload

Data = TypeVar("Data", bound=AnswerData)


class AsyncJob(Generic[Data]):
    """A request that was sent; see `photog.client.Job`."""

    def __init__(self, job: Job[Data]) -> None:
        self.function, self.request_id = job.function, job.request_id
        self._job = job

    async def answer(self) -> Answer[Data] | None:
        """Return the answer, or None if there is none yet; raises RequestFailed if it is an error."""
        return await asyncio.to_thread(self._job.answer)

    async def progress(self, timeout_seconds: float = float("inf")) -> AsyncIterator[ProgressData]:
        """Yield the progress whenever it has changed, until there is an answer. Raises TimeoutError."""
        watch = Watch(self.function, self.request_id, timeout_seconds)
        while not watch.is_answered(envelope := await self._look()):
            if (news := watch.news(envelope)) is not None:
                yield news
            await asyncio.sleep(watch.pause())

    async def wait(self, timeout_seconds: float = float("inf")) -> Answer[Data]:
        """Wait for the answer and return it. Raises RequestFailed if it is an error, and TimeoutError."""
        watch = Watch(self.function, self.request_id, timeout_seconds)
        while not watch.is_answered(envelope := await self._look()):
            watch.news(envelope)
            await asyncio.sleep(watch.pause())
        answer = read_answer(self.function, envelope)
        assert answer is not None
        return answer

    async def cancel(self) -> bool:
        """Cancel the request; return whether that came in time. Raises UnknownRequest if nobody sent it."""
        return await asyncio.to_thread(self._job.cancel)

    async def _look(self) -> Json | None:
        return await asyncio.to_thread(self._job.look)


class AsyncClient:
    """photog for asyncio: wraps a client, `AsyncClient(Client.open_bucket("s3://portraits"))`, also a FakeClient."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def check(
        self,
        images: Sequence[Picture],
        *,
        same_person: bool = False,
        user_id: str | None = None,
        request_id: str | None = None,
        metadata: Metadata | None = None,
    ) -> AsyncJob[CheckData]:
        """See `Client.check`."""
        person = partial(self._client.check, same_person=same_person, user_id=user_id)
        ask = partial(person, request_id=request_id, metadata=metadata)
        return AsyncJob(await asyncio.to_thread(ask, images))

    async def train(
        self,
        images: Sequence[Picture],
        user_id: str,
        *,
        request_id: str | None = None,
        metadata: Metadata | None = None,
        **knobs: Unpack[TrainKnobs],
    ) -> AsyncJob[TrainData]:
        """See `Client.train`."""
        ask = partial(self._client.train, request_id=request_id, metadata=metadata, **knobs)
        return AsyncJob(await asyncio.to_thread(ask, images, user_id))

    async def generate(
        self,
        template_image: Picture,
        *,
        user_id: str | Sequence[str | None] | None = None,
        references: Sequence[Picture] | Sequence[Sequence[Picture]] = (),
        request_id: str | None = None,
        metadata: Metadata | None = None,
        **knobs: Unpack[GenerateKnobs],
    ) -> AsyncJob[GenerateData]:
        """See `Client.generate`."""
        people = partial(self._client.generate, user_id=user_id, references=references)
        ask = partial(people, request_id=request_id, metadata=metadata, **knobs)
        return AsyncJob(await asyncio.to_thread(ask, template_image))

    def find_job(self, function: str, request_id: str) -> AsyncJob[Any]:
        """See `Client.find_job`."""
        return AsyncJob(self._client.find_job(function, request_id))

    async def list_requests(self, user_id: str) -> list[Json]:
        """See `Client.list_requests`."""
        return await asyncio.to_thread(self._client.list_requests, user_id)

    async def upload(self, picture: Path | bytes, *, suffix: str = ".jpg", user_id: str | None = None) -> str:
        """See `Client.upload`."""
        return await asyncio.to_thread(partial(self._client.upload, suffix=suffix, user_id=user_id), picture)

    async def sign_upload(
        self,
        *,
        suffix: str = ".jpg",
        user_id: str | None = None,
        content_type: str = "image/jpeg",
        expires_seconds: int = 900,
    ) -> SignedUpload:
        """See `Client.sign_upload`."""
        sign = partial(self._client.sign_upload, content_type=content_type, expires_seconds=expires_seconds)
        return await asyncio.to_thread(partial(sign, suffix=suffix, user_id=user_id))

    async def read_picture(self, answer: Answer[GenerateData]) -> bytes:
        """See `Client.read_picture`."""
        return await asyncio.to_thread(self._client.read_picture, answer)

    async def read(self, key: str) -> bytes:
        """See `Client.read`."""
        return await asyncio.to_thread(self._client.read, key)
