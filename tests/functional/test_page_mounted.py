"""`photog serve --page`: the queue protocol and the page in one server, each behind its own door."""

import re
import subprocess
import sys

import httpx

from tests.sdk import Server

QUEUE = "/api/predict/photog_check"


def test_the_page_stands_beside_the_queue_protocol_and_opens_by_the_same_token(tmp_path):
    server = Server(tmp_path, options=("--page",))
    server.start(PHOTOG_TOKEN="secret")
    try:
        with httpx.Client(base_url=f"http://{server.endpoint}") as client:
            form = client.get("/page/", headers={"accept": "text/html"})
            assert (form.status_code, 'name="token"' in form.text) == (401, True)
            assert client.post("/page/login", data={"token": "wrong"}).status_code == 403
            assert client.post("/page/login", data={"token": "secret"}).status_code == 303
            shown = client.get("/page/")
            assert shown.status_code == 200
            assert "/page/assets/page.css" in shown.text
            assert re.findall(r"""(?:src|href)=["'](?:https?:)?//[^"']*""", shown.text) == []
            assert client.get("/page/assets/page.css").headers["content-type"].startswith("text/css")
            live = client.get("/page/_nicegui_ws/socket.io/", params={"EIO": "4", "transport": "polling"}).text
            patience = int(re.findall(r'"pingTimeout":(\d+)', live)[0])
            assert patience > 10_000, "a busy server or a bad network must not take a tab's photos and portraits"
            attributes = {"_attrs_": "true"}
            assert client.get(QUEUE, params=attributes).status_code == 401, "a session is no token of a service"
            assert client.get(QUEUE, params=attributes, headers={"Authorization": "secret"}).status_code == 200
            assert client.get("/healthz").json() == {"status": "ok"}
    finally:
        assert server.stop() == 0


def test_no_worker_loads_what_the_page_is_made_of():
    code = (
        "import sys, shared.cli, shared.runtime.work_process, functions.check.handler; "
        "sys.exit(any(one in sys.modules for one in ('nicegui', 'page')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
