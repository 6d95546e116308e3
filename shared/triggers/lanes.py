"""Deliveries that are in hand at the same time, each in a thread of its own.

| a delivery | from | to | what is done for it |
|---|---|---|---|
| made ready | the running one will end soon | the turn is its own | its pictures are fetched; nothing is claimed |
| running | it has the turn (`device_turn.py`) | its function is done | claim, work |
| published | the same | it is settled | artifacts, answer, events; its message is deleted |

At most one is made ready, so that the others stay where a free worker finds them, and only shortly before its turn.
"""

import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from threading import Event

from shared.contract.function import FunctionUnavailable
from shared.events import ObjectCreated
from shared.lifecycle.device_turn import DeviceTurn

MOST = 3  # deliveries in hand: one of each state
LEAD_SECONDS = 5.0  # before the running one ends, the next one is made ready: it waits for this worker so long at most
WORTH_SECONDS = 0.05  # a shorter wait for the turn is not used to fetch pictures
POLL_SECONDS = 0.1  # between two looks at how long the running one still takes

Prepare = Callable[[ObjectCreated, Callable[[], bool]], None]  # `Invocation.prepare`


class Lanes:
    """The deliveries of one trigger.

    Args:
        turn: given back by the running request; None serves one delivery after the other, in the caller's thread.
        prepare: fetches what a request will need; `Invocation.prepare`.
    """

    def __init__(self, turn: DeviceTurn | None, prepare: Prepare = lambda created, over: None) -> None:
        self._turn, self._prepare = turn, prepare
        self._pool = ThreadPoolExecutor(MOST, "lane")
        self._lock = threading.Lock()
        self._in_hand: set[Future[None]] = set()
        self._preparing = 0
        self._ended = Event()
        self._error: BaseException | None = None

    def prepare_with(self, prepare: Prepare) -> None:
        """Set what fetches the pictures of a request, once its function is there."""
        self._prepare = prepare

    @property
    def empty(self) -> bool:
        """Whether nothing is in hand."""
        return not self._in_hand

    @property
    def running(self) -> bool:
        """Whether a request has the turn, so that another one can only be made ready."""
        return self._turn is not None and self._turn.taken

    def await_room(self, stop: Event) -> bool:
        """Wait until another delivery may be begun or made ready; False if `stop` is set first.

        Raises the error that ended a delivery.
        """
        while not stop.is_set():
            self._raise_error()
            if self._has_room():
                return True
            self._await_change()
        return False

    def await_turn(self, stop: Event) -> None:
        """Wait until no request has the turn, because nothing was found that could be made ready."""
        while self.running and not stop.is_set():
            self._await_change()

    def begin(self, serve: Callable[["Lane"], None], stop: Event) -> None:
        """Serve a delivery; returns at once, if there is a turn to wait for."""
        if self._turn is None:
            serve(Lane(None, self._prepare, stop, lambda: None, self._ended))
            return
        with self._lock:
            self._preparing += 1
            future = self._pool.submit(self._serve, serve, self._turn, stop)
            self._in_hand.add(future)
        future.add_done_callback(self._leave)

    def drain(self, over: Callable[[], None] = lambda: None) -> None:
        """Wait until nothing is in hand any more; raises the error that ended a delivery.

        Args:
            over: called whenever a delivery may be over.
        """
        while self._in_hand:
            wait(tuple(self._in_hand), return_when=FIRST_COMPLETED)
            over()
        self._raise_error()

    def _await_change(self) -> None:
        if self._turn is not None:
            self._turn.changed.wait(POLL_SECONDS)
            self._turn.changed.clear()

    def _has_room(self) -> bool:
        if self._turn is None:
            return True
        free = self._turn.seconds_left() <= LEAD_SECONDS
        return free and not self._preparing and len(self._in_hand) < MOST

    def _serve(self, serve: Callable[["Lane"], None], turn: DeviceTurn, stop: Event) -> None:
        lane = Lane(turn, self._prepare, stop, self._note_begun, self._ended)
        try:
            serve(lane)
        except FunctionUnavailable:
            self._ended.set()  # before the next one has the turn: its function is gone too
            raise
        finally:
            lane.leave()

    def _note_begun(self) -> None:
        with self._lock:
            self._preparing -= 1

    def _leave(self, future: "Future[None]") -> None:
        error = future.exception()
        if error is not None and (self._error is None or isinstance(error, FunctionUnavailable)):
            self._error = error
        self._in_hand.discard(future)
        if self._turn is not None:
            self._turn.changed.set()

    def _raise_error(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error


class Lane:
    """One delivery's way through the states above; used by the thread that serves it."""

    def __init__(
        self, turn: DeviceTurn | None, prepare: Prepare, stop: Event, begun: Callable[[], None], ended: Event
    ) -> None:
        self._turn, self._prepare, self._stop, self._begun, self._ended = turn, prepare, stop, begun, ended
        self._left = False

    def take_turn(self, created: list[ObjectCreated]) -> bool:
        """Make the objects ready, wait for the turn and take it; False if the worker ends before."""
        turn, stop = self._turn, self._stop
        if turn is None:
            return not stop.is_set()
        if turn.taken and not 0 < turn.seconds_left() < WORTH_SECONDS:
            for one in created:
                self._prepare(one, lambda: stop.is_set() or not turn.taken)
        taken = turn.take(stop)
        self._begin()
        return taken and not self._ended.is_set()

    def leave(self) -> None:
        """Give back the turn, whatever happened."""
        if self._turn is not None:
            self._turn.give_back()
        self._begin()

    def _begin(self) -> None:
        if not self._left:
            self._left = True
            self._begun()
