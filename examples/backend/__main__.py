"""Run the backend: `python -m examples.backend BUCKET [PORT]`, with the workers' PHOTOG_NOTIFY__WEBHOOK_SECRET."""

import os
import sys

import uvicorn

from examples.backend.application import build_application
from photog import Client

bucket, port = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 8000
uvicorn.run(build_application(Client.open_bucket(bucket), os.environ["PHOTOG_NOTIFY__WEBHOOK_SECRET"]), port=port)
