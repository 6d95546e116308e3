"""Who may reach the page: the guard in front of it, and which pictures it gives out."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import typer
from fastapi import FastAPI, Request

from page import texts
from page.command import read_settings
from page.guard import COOKIE, Guard, Sessions, is_loopback
from page.pictures import NoPicture, Pictures
from page.settings import PageSettings
from page.studio import Studio, make_user_id
from shared.buckets import FolderBucket, InvalidKey, MemoryBucket
from shared.contract import keys
from shared.contract.manifests import USER_ID
from shared.contract.users import ReferenceRecord, UserModel
from shared.errors import PhotoError
from shared.photos.decoding import decode_photo
from shared.settings import Limits, Settings
from tests.clock import Clock
from tests.pictures import astronaut, jpeg

TOKEN = "open sésame"
ORIGIN = {"origin": "http://127.0.0.1"}
FACE = jpeg(astronaut()[:200, :200])


def guard(clock: Clock, token: str | None = TOKEN, **settings: Any) -> httpx.AsyncClient:
    app = FastAPI()

    @app.api_route("/page/{path:path}", methods=["GET", "POST"])
    async def inside(path: str, request: Request) -> str:
        return "inside"

    @app.get("/elsewhere")
    async def elsewhere() -> str:
        return "elsewhere"

    configured = PageSettings(token=token, **settings)
    guarded = Guard(app, Sessions(configured, clock), "/page", 1000, configured.session_hours)
    return httpx.AsyncClient(transport=httpx.ASGITransport(guarded), base_url="http://127.0.0.1")


def call(client: httpx.AsyncClient, method: str, path: str, **more) -> httpx.Response:
    return asyncio.run(client.request(method, path, **more))


def log_in(client: httpx.AsyncClient, token: str = TOKEN) -> httpx.Response:
    return call(client, "POST", "/page/login", data={"token": token}, headers=ORIGIN)


def test_without_a_login_nothing_is_shown_but_the_form():
    client = guard(Clock())
    form = call(client, "GET", "/page/", headers={"accept": "text/html"})
    assert form.status_code == 401
    assert 'name="token"' in form.text
    assert call(client, "GET", "/page/pictures/photos/a.jpg").text == texts.LOGIN_FIRST
    assert call(client, "POST", "/page/_nicegui/client/1/upload/2", data={"a": "b"}).status_code == 401
    assert call(client, "GET", "/elsewhere").json() == "elsewhere"


def test_the_right_token_opens_a_session_in_a_cookie_that_scripts_and_other_sites_have_no_use_of():
    client = guard(Clock())
    cookie = log_in(client).headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "path=/page" in cookie
    assert call(client, "GET", "/page/").json() == "inside"
    assert call(client, "POST", "/page/logout", headers=ORIGIN).status_code == 303
    assert call(client, "GET", "/page/").status_code == 401


def test_a_session_ends_by_itself_and_none_can_be_made_up():
    clock = Clock()
    client = guard(clock, session_hours=1)
    log_in(client)
    clock.now += 3601
    assert call(client, "GET", "/page/").status_code == 401
    client.cookies = httpx.Cookies({COOKIE: "x" * 43})
    assert call(client, "GET", "/page/").status_code == 401


def test_wrong_tokens_are_counted_and_then_even_the_right_one_waits():
    clock = Clock()
    client = guard(clock, tries_a_minute=3)
    assert [log_in(client, "wrong").status_code for _ in range(4)] == [403, 403, 403, 429]
    refused = log_in(client)
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) <= 61
    clock.now += 61
    assert log_in(client).status_code == 303


@pytest.mark.parametrize("token", [TOKEN, None])
def test_other_sites_cannot_send_anything_even_with_the_cookie(token):
    client = guard(Clock(), token)
    if token:
        log_in(client)
    evil = {"origin": "http://evil.example"}
    assert call(client, "POST", "/page/", data={"a": "b"}, headers=evil).status_code == 403
    assert call(client, "POST", "/page/login", data={"token": TOKEN}, headers=evil).status_code == 403
    assert call(client, "POST", "/page/", data={"a": "b"}, headers=ORIGIN).json() == "inside"


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://[", "http://127.0.0.1.evil.example"])
def test_other_sites_read_nothing_either(origin):
    """The live connection of NiceGUI would answer a GET of any site, and say that its page may read it."""
    client = guard(Clock(), None)
    assert call(client, "GET", "/page/", headers={"origin": origin}).status_code == 403


def test_a_live_connection_ends_with_its_session():
    clock, told = Clock(), []
    sessions = Sessions(PageSettings(token=TOKEN, session_hours=1), clock)
    session = sessions.log_in(TOKEN)

    async def inside(scope, receive, send):
        while (message := await receive())["type"] == "websocket.receive":
            told.append(message["text"])

    async def receive():
        clock.now += 1000
        return {"type": "websocket.receive", "text": "pong"}

    async def send(message):
        told.append(message["type"])

    headers = [(b"host", b"photog"), (b"origin", b"http://photog"), (b"cookie", f"{COOKIE}={session}".encode())]
    scope = {"type": "websocket", "path": "/page/_nicegui_ws/socket.io/", "query_string": b"", "headers": headers}
    asyncio.run(asyncio.wait_for(Guard(inside, sessions, "/page", 1000, 1)(scope, receive, send), 5))
    assert told == ["pong", "pong", "pong", "websocket.close"]


def test_without_a_token_only_names_of_this_machine_reach_it():
    client = guard(Clock(), None)
    assert call(client, "GET", "/page/").json() == "inside"
    assert call(client, "GET", "/page/", headers={"host": "evil.example"}).status_code == 421
    assert call(client, "GET", "/page/", headers={"host": "["}).status_code == 421
    assert call(client, "GET", "/page/", headers={"host": "localhost:8000"}).json() == "inside"


def test_a_body_has_a_length_within_the_limit():
    client = guard(Clock(), None)

    async def pieces():
        yield b"a"

    assert call(client, "POST", "/page/", content=pieces()).status_code == 411
    assert call(client, "POST", "/page/", content=b"a" * 70_000).status_code == 413


def test_every_answer_says_what_browsers_may_load():
    client = guard(Clock(), None)
    headers = call(client, "GET", "/page/").headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("host", "is_one"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("photog", False),
    ],
)
def test_addresses_that_only_this_machine_has(host, is_one):
    assert is_loopback(host) is is_one


def test_the_page_is_not_shown_to_others_without_a_token(monkeypatch, capsys):
    monkeypatch.delenv("PHOTOG_TOKEN", raising=False)
    with pytest.raises(typer.Exit):
        read_settings("0.0.0.0")
    assert "PHOTOG_TOKEN" in capsys.readouterr().err
    monkeypatch.setenv("PHOTOG_TOKEN", "x")
    settings = read_settings("0.0.0.0")
    assert settings.token == "x"
    assert "'x'" not in repr(settings)


# --- pictures --------------------------------------------------------------------------------------------------------


def test_pictures_come_from_where_pictures_lie_and_from_nowhere_else(tmp_path):
    (tmp_path / "secret.jpg").write_bytes(FACE)
    bucket = FolderBucket(tmp_path / "bucket")
    for key in ("photos/a.jpg", "claims/a.jpg", "templates/a.jpg"):
        bucket.put(key, FACE)
    pictures = Pictures(bucket, Limits())
    assert pictures.whole("photos/a.jpg") == (FACE, "image/jpeg")
    assert pictures.small("templates/a.jpg", 90).startswith(b"\xff\xd8")
    for key in ("claims/a.jpg", "photos/none.jpg", "photos/../claims/a.jpg", "../secret.jpg", "photos//a.jpg", ""):
        with pytest.raises((NoPicture, InvalidKey)):
            pictures.whole(key)
        with pytest.raises((NoPicture, InvalidKey)):
            pictures.small(key, 90)


def test_what_holds_a_script_is_no_picture():
    bucket = MemoryBucket()
    svg = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
    for key, data in (("photos/a.jpg", svg), ("photos/b.png", b"<html><script>1</script>")):
        bucket.put(key, data)
        with pytest.raises(NoPicture):
            Pictures(bucket, Limits()).whole(key)
    with pytest.raises(PhotoError):
        Studio(bucket, Settings(), PageSettings()).add_picture("a.jpg", svg)
    assert [info.key for info in bucket.list("photos/")] == ["photos/a.jpg", "photos/b.png"]


def test_an_uploads_name_becomes_no_key():
    bucket = MemoryBucket()
    for name in ("../../x.jpg", "<img src=x onerror=alert(1)>.jpg", "a.jpg/..", "x" * 300, "."):
        stored = Studio(bucket, Settings(), PageSettings()).add_picture(name, FACE)
        assert stored.startswith("photos/")
        assert set(stored) <= set("photsjpg/.0123456789abcdef")


def test_pictures_are_decoded_one_at_a_time_whoever_asks(monkeypatch):
    """A picture of 100 million pixels has 300 MB: six uploads at once had six of them."""
    at_once, most = [], []

    def decode(data, limits):
        at_once.append(1)
        most.append(len(at_once))
        time.sleep(0.02)
        at_once.pop()
        return decode_photo(data, limits)

    monkeypatch.setattr("page.pictures.decode_photo", decode)
    bucket = MemoryBucket()
    studio = Studio(bucket, Settings(), PageSettings())
    bucket.put("photos/a.jpg", FACE)
    with ThreadPoolExecutor(6) as pool:
        shown = pool.map(lambda side: studio.pictures.small("photos/a.jpg", side), (96, 320, 640))
        stored = pool.map(lambda name: studio.add_picture(name, FACE), ("b.jpg", "c.jpg", "d.jpg"))
        assert len([*shown, *stored]) == 6
    assert max(most) == 1


def test_a_record_of_somebody_else_is_nobody_here():
    bucket = MemoryBucket()
    reference = ReferenceRecord(key="photos/a.jpg", landmarks=[(0, 0)] * 68, box=(0, 0, 9, 9), embedding=[1.0])
    for user in ("ann", "eve"):
        named = {"user_id": "ann", "request_id": "t", "lora": None, "base_model": "b", "face_engine": "f"}
        model = UserModel(**named, trigger="x", references=[reference])
        bucket.put(keys.model(user), model.model_dump_json().encode())
    assert [one.user_id for one in Studio(bucket, Settings(), PageSettings()).people()] == ["ann"]


@pytest.mark.parametrize(
    ("name", "user_id"),
    [("Anna Müller", "anna-muller"), ("../x", "x"), ("none", ""), ("  ", ""), ("<b>", "b"), ("O'Neil", "o-neil")],
)
def test_a_persons_name_becomes_an_id(name, user_id):
    assert make_user_id(name) == user_id


def test_names_that_differ_in_other_scripts_or_far_behind_are_two_people():
    for one, other in (("Anna 王", "Anna 李"), ("Anna Łącka", "Anna Ącka"), ("x" * 70 + "a", "x" * 70 + "b")):
        assert make_user_id(one) != make_user_id(other)
        assert USER_ID.fullmatch(make_user_id(one))


def test_a_name_without_latin_letters_becomes_an_id_too():
    assert make_user_id("李雷").startswith("person-")
