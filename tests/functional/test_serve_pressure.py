"""What clients that are slow, many, large or gone can do to a server that listens on a socket of this machine."""

import asyncio
import contextlib
import json
import logging
import socket
import threading
import time
from contextlib import contextmanager

import httpx
import pytest
import websockets

from serve import wire
from serve.application import build_application
from serve.budget import Budget
from serve.connections import Bounds
from serve.database import Database
from serve.errors import RequestRefused
from serve.listening import Server
from tests.echo import until
from tests.serving import INPUT, SETTINGS, SINK, TOKEN, Served

HEAD = f"POST {SINK} HTTP/1.1\r\nHost: x\r\nAuthorization: secret\r\n"


@pytest.fixture
def served(tmp_path):
    return Served(tmp_path, watchers=2, turn_seconds=0.3, bytes_at_once=200_000)


@contextmanager
def listening(served, connections: int = 50, head: float = 0.4, body: float = 1.0, period: float = 0.3):
    """Start a server on a free port; yield the port."""
    app = build_application(served.bucket, Database(served.folder), SETTINGS, served.settings)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    server = Server(app, "127.0.0.1", port, served.settings, Bounds(connections, head, body, period))
    running = threading.Thread(target=server.run)
    running.start()
    until(lambda: server.started)
    try:
        yield port
    finally:
        server.should_exit = True
        running.join(20)
        assert not running.is_alive()


@pytest.fixture
def port(served):
    with listening(served) as number:
        yield number


def connected(port: int, said: str = "") -> socket.socket:
    made = socket.create_connection(("127.0.0.1", port), 10)
    made.sendall(said.encode())
    return made


def closed_within(one: socket.socket, seconds: float) -> bool:
    """Return whether the other side ends the connection in time, whatever it sends before."""
    one.settimeout(seconds)
    try:
        while one.recv(65536):
            continue
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return True


def received(one: socket.socket) -> int:
    """Return how many bytes arrive until the other side ends the connection."""
    one.settimeout(5)
    count = 0
    try:
        while piece := one.recv(1 << 20):
            count += len(piece)
    except ConnectionError:
        return count
    return count


def cut_off(one: socket.socket, piece: bytes, pause: float) -> bool:
    """Return whether the other side ends the connection within 200 pieces that we send."""
    try:
        for _ in range(200):
            one.sendall(piece)
            time.sleep(pause)
    except ConnectionError:
        return True
    return False


def call(port: int, method: str = "GET", path: str = SINK, **more) -> httpx.Response:
    more.setdefault("headers", TOKEN)
    return httpx.request(method, f"http://127.0.0.1:{port}{path}", timeout=20, **more)


def test_a_head_that_does_not_come_is_not_waited_for(port):
    slow = [connected(port), connected(port, "GET / HTTP/1.1\r\nHo"), connected(port, "\r\n")]
    for one in slow:
        assert closed_within(one, 5)


def test_a_head_that_comes_byte_by_byte_is_not_waited_for_either(port):
    assert cut_off(connected(port, "GET /"), b"x", 0.05)


def test_a_connection_that_has_been_answered_is_not_held_open_by_empty_lines(port):
    one = connected(port, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"200" in one.recv(1000)
    one.sendall(b"\r\n")
    assert closed_within(one, 5)


def test_a_body_that_does_not_come_is_not_waited_for_and_leaves_no_traceback(port, caplog):
    assert closed_within(connected(port, f"{HEAD}Content-Length: 1000\r\n\r\nx"), 5)
    assert [one for one in caplog.records if one.exc_info] == []
    assert call(port, path="/healthz").status_code == 200


def test_a_body_that_takes_too_long_in_all_is_cut_off_however_steady_it_is(port):
    slow = connected(port, f"{HEAD}Content-Length: 100000\r\n\r\n")
    started = time.monotonic()
    assert cut_off(slow, b"x" * 500, 0.1)
    assert 0.8 < time.monotonic() - started < 6


def test_a_body_after_a_refusal_is_not_read_for_ever(port):
    one = connected(port, f"POST {SINK} HTTP/1.1\r\nHost: x\r\nContent-Length: 20000000000\r\n\r\nx")
    assert closed_within(one, 5)


def test_an_answer_that_nobody_reads_is_not_kept_for_ever(tmp_path):
    served = Served(tmp_path)
    body = b"x" * 90_000
    with listening(served) as port:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=TOKEN) as client:
            for _ in range(60):
                client.post(SINK, content=body)
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        one.connect(("127.0.0.1", port))
        one.sendall(f"GET {SINK}?_length_=60 HTTP/1.1\r\nHost: x\r\nAuthorization: secret\r\n\r\n".encode())
        time.sleep(1.5)
        assert received(one) < 60 * len(body)


def test_a_head_that_has_no_end_is_refused(port):
    assert cut_off(connected(port, "GET / HTTP/1.1\r\n"), b"X-More: " + b"x" * 4000 + b"\r\n", 0.001)


def test_beyond_the_limit_of_connections_those_that_say_nothing_make_room(served):
    with listening(served, connections=10, head=30) as port:
        silent = [connected(port) for _ in range(30)]
        assert call(port, path="/healthz").status_code == 200
        assert sum(closed_within(one, 0.05) for one in silent) >= 20


def test_three_hundred_clients_that_leave_in_the_middle_leave_no_traceback(served, caplog):
    caplog.set_level(logging.INFO)
    with listening(served, connections=1000) as port:
        for number in range(300):
            said = f"{HEAD}Content-Length: 5000\r\n\r\n{'x' * (number % 200)}"
            if number % 3 == 0:
                said = f"GET {SINK}?_timeout_=30s HTTP/1.1\r\nHost: x\r\nAuthorization: secret\r\n\r\n"
            connected(port, said).close()
        assert call(port, path="/healthz").status_code == 200
        until(lambda: call(port, "POST", content=b"x").status_code == 200)
        time.sleep(0.2)
    assert [one.getMessage() for one in caplog.records if one.exc_info or one.levelno >= logging.WARNING] == []


def watch(port: int, user: str):
    url = f"ws://127.0.0.1:{port}{SINK}?_watch_=true&_index_=0&_window_=5"
    headers = TOKEN | {"X-EAS-QueueService-Redis-Uid": user}
    return websockets.connect(url, additional_headers=headers, max_size=None)


def test_one_watcher_too_many_is_refused_with_503_and_the_place_of_one_that_left_is_free(port):
    async def three() -> tuple[int, str]:
        async with watch(port, "u1"), watch(port, "u2"):
            with pytest.raises(websockets.InvalidStatus) as refused:
                await watch(port, "u3")
            response = refused.value.response
        for _ in range(100):
            try:
                async with watch(port, "u3"):
                    return response.status_code, response.headers["Retry-After"]
            except websockets.InvalidStatus:
                await asyncio.sleep(0.05)
        raise AssertionError("the place was not given free")

    assert asyncio.run(three()) == (503, "5")


def test_watchers_that_vanish_leave_no_traceback_and_their_entries_to_others(served, caplog):
    async def vanish(port: int) -> None:
        for number in range(20):
            with contextlib.suppress(websockets.InvalidStatus):  # the last one has not been missed yet
                socket = await watch(port, f"u{number % 2}")
                if number % 2:
                    await socket.recv()
                socket.transport.abort()

    async def remaining(port: int) -> bytes:
        for _ in range(100):
            with contextlib.suppress(websockets.InvalidStatus):
                async with watch(port, "other") as socket:
                    return wire.read_one(await asyncio.wait_for(socket.recv(), 10)).data
            await asyncio.sleep(0.05)
        raise AssertionError("no place was given free")

    with listening(served) as port:
        call(port, "POST", content=b"data")
        asyncio.run(vanish(port))
        assert asyncio.run(remaining(port)) == b"data"
    assert [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR] == []


@pytest.mark.parametrize(
    ("frame", "ends"), [("x" * 5000, True), (b"\0" * 5000, True), ("hello", False), (b"\0", False)]
)
def test_what_a_watcher_says_is_bounded_and_means_nothing(port, frame, ends, caplog):
    async def say() -> bool:
        async with watch(port, "u1") as socket:
            await socket.send(frame)
            await asyncio.to_thread(call, port, "POST", content=b"data")
            if not ends:
                return wire.read_one(await asyncio.wait_for(socket.recv(), 5)).data == b"data"
            with pytest.raises(websockets.ConnectionClosed) as closed:
                await asyncio.wait_for(socket.recv(), 5)
            return closed.value.rcvd is not None and closed.value.rcvd.code == 1009

    assert asyncio.run(say())
    assert [one for one in caplog.records if one.exc_info] == []


def test_a_large_put_that_finds_no_room_in_time_is_asked_to_come_again_and_small_ones_go_on(served):
    with listening(served, period=0.8) as port:
        slow = [connected(port, f"{HEAD}Content-Length: 100000\r\n\r\nx") for _ in range(2)]
        time.sleep(0.1)
        answers = []
        large = threading.Thread(target=lambda: answers.append(call(port, "POST", content=b"y" * 90_000)))
        large.start()
        assert call(port, "POST", content=b"small").status_code == 200
        large.join()
        assert (answers[0].status_code, answers[0].headers["Retry-After"]) == (503, "5")
        for one in slow:
            assert closed_within(one, 5)
        assert call(port, "POST", content=b"y" * 90_000).status_code == 200


def test_waiting_gets_are_answered_when_the_server_stops(served, caplog):
    answers = []
    with listening(served) as port:
        waiting = threading.Thread(target=lambda: answers.append(call(port, params={"_timeout_": "60s"})))
        waiting.start()
        time.sleep(0.3)
        started = time.monotonic()
    waiting.join()
    assert time.monotonic() - started < 5
    assert answers[0].status_code == 200
    assert [one for one in caplog.records if one.exc_info] == []


def test_the_token_and_the_tags_of_watchers_are_in_no_log(served, caplog):
    caplog.set_level(logging.DEBUG, "serve")
    caplog.set_level(logging.INFO)

    async def watched(port: int) -> None:
        url = f"ws://127.0.0.1:{port}{SINK}?_watch_=true&_window_=1&person=anna"
        async with websockets.connect(url, additional_headers=TOKEN):
            pass

    with listening(served) as port:
        call(port, "POST", INPUT, content=b"{}", params={"person": "anna"})
        call(port, headers={"Authorization": "Bearer secret"})
        call(port, headers={"Authorization": "secret-but-wrong"})
        connected(port, f"{HEAD}broken\r\n\r\n").close()
        asyncio.run(watched(port))
    said = [one for one in caplog.text.splitlines() if "serve" in one or "uvicorn" in one]
    assert said
    assert not [one for one in said if "secret" in one or "anna" in one]


def test_room_is_given_in_order_and_given_back_by_those_who_stop_waiting():
    async def scene() -> list[str]:
        budget, order = Budget(10, 5), list[str]()

        async def one(name: str, size: int) -> None:
            async with budget.hold(size):
                order.append(name)

        first = await budget.take(8)
        waiting = [asyncio.create_task(one("large", 9)), asyncio.create_task(one("small", 1))]
        left = asyncio.create_task(one("left", 3))
        await asyncio.sleep(0)
        left.cancel()
        await asyncio.gather(left, return_exceptions=True)
        assert order == []
        first.shrink(20)
        first.release()
        first.release()
        await asyncio.gather(*waiting)
        whole = await budget.take(1000)
        assert whole.size == 10
        assert (await Budget(0, 0.01).take(0)).size == 0, "what needs nothing never waits"
        with pytest.raises(RequestRefused, match="at once"):
            await _second(Budget(1, 0.01))
        return order

    async def _second(budget: Budget) -> None:
        await budget.take(1)
        await budget.take(1)

    assert asyncio.run(scene()) == ["large", "small"]


def test_healthz_tells_a_token_what_the_server_holds_and_nobody_else(port):
    assert call(port, path="/healthz", headers={}).json() == {"status": "ok"}
    assert call(port, path="/healthz", headers={"Authorization": "wrong"}).json() == {"status": "ok"}
    assert set(call(port, path="/healthz").json()) == {"status", "bucket", "services"}
    assert "memory" not in json.dumps(call(port, path="/metrics", headers={}).text)
