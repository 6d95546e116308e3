"""The process that `zygotes.py` forks from: `python -m tests.zygote DESCRIPTOR MODULE... PADDING`."""

import fcntl
import gc
import os
import runpy
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from importlib import import_module

from tests import zygotes


def main(descriptor: str, *modules: str) -> list[str]:
    """Fork what is ordered; returns only in a process that was, its program."""
    signal.pthread_sigmask(signal.SIG_BLOCK, zygotes.HELD)
    for module in modules:
        with suppress(ImportError):  # the program that needs it will tell
            import_module(module)
    gc.freeze()  # what is shared by all should not be written to by each one's search for garbage
    channel = socket.socket(fileno=int(descriptor))
    while True:
        order, received = zygotes.await_order(channel)
        if order["session"]:
            os.setsid()
        if order["command"][0] == "-c" and not order["tests"]:
            break
        ours, channel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if os.fork():
            channel.close()
            forking = zygotes.make_popen(_set_aside(ours))
            if order["tests"]:
                zygotes.twin = forking
            else:
                subprocess.Popen = forking  # type: ignore[misc]
            break
        ours.close()
        for number in received:
            os.close(number)
    zygotes.take_shape(order, received)
    return list(order["command"])


def _set_aside(one: socket.socket) -> socket.socket:
    """Return the socket under a number that no program is told to use."""
    aside = fcntl.fcntl(one.fileno(), fcntl.F_DUPFD_CLOEXEC, zygotes.ASIDE)
    one.close()
    return socket.socket(fileno=aside)


if __name__ == "__main__":
    # not within a function: what the program raises is for the interpreter, as if it had been started so
    how, what, *words = main(*sys.argv[1:-1])
    sys.argv = [how, *words]
    if how == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})
