"""The client of photog: submit requests, follow them, read answers as typed objects; over a bucket or over HTTP.

    from photog import Client

    client = Client.open_bucket("s3://portraits")
    job = client.generate(Path("poster.jpg"), references=[Path("me.jpg")], metadata={"order": "A-1007"})
    for progress in job.progress():
        print(progress.stage, progress.step, progress.steps)
    Path("portrait.png").write_bytes(client.read_picture(job.wait()))

It imports neither torch nor numpy, OpenCV or dlib, and boto3 only for `s3://`. docs/client.md has the rest.
"""

from photog.hidden_packages import explain_hidden_package

try:
    from photog.async_client import AsyncClient, AsyncJob
    from photog.client import Client, Job
    from photog.fake import FakeClient
    from photog.transport import RequestFailed, ServerRefused, Transport
    from shared.contract.answers import (
        Answer,
        CheckData,
        CheckResult,
        CompletionEvent,
        ErrorAnswer,
        ErrorDetail,
        GenerateData,
        PortraitFace,
        ProgressData,
        TrainData,
        Usage,
    )
    from shared.operations.uploads import SignedUpload
except ImportError as error:
    raise explain_hidden_package(error) from error

__all__ = [
    "Answer",
    "AsyncClient",
    "AsyncJob",
    "CheckData",
    "CheckResult",
    "Client",
    "CompletionEvent",
    "ErrorAnswer",
    "ErrorDetail",
    "FakeClient",
    "GenerateData",
    "Job",
    "PortraitFace",
    "ProgressData",
    "RequestFailed",
    "ServerRefused",
    "SignedUpload",
    "TrainData",
    "Transport",
    "Usage",
]
