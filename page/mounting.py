"""What `photog serve --page` adds to its application; the entry point group `photog.pages` names it."""

from fastapi import FastAPI

from page.application import mount_page
from page.command import read_settings
from page.studio import Studio
from shared.buckets import Bucket
from shared.settings import Settings


def mount(app: FastAPI, bucket: Bucket, settings: Settings, host: str) -> None:
    """Add the page of a bucket to a server's application; ends the program where its settings cannot work."""
    mount_page(app, Studio(bucket, settings, read_settings(host)))
