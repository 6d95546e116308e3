"""The command line `photog`. Answers go to stdout, progress and logs to stderr.

Exit status: 0 OK, 1 an error answer, 2 wrong usage, 74 a file cannot be read or written, 75 the store is unavailable:
try again, as supervisors do. `failures.py` has the whole list.
"""

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.cli.verbs import app as app

INTERRUPTED = 130  # as in shells: 128 plus the number of SIGINT


def main() -> None:
    """Run the program; Ctrl-C ends it in one line from the start, while its modules are imported too."""
    try:
        from shared.cli.verbs import app

        app()
    except KeyboardInterrupt:
        sys.stderr.write("photog: stopped\n")
        sys.stderr.flush()
        os._exit(INTERRUPTED)  # sys.exit ends with SIGINT where the interrupted import was one of a C extension


def __getattr__(name: str) -> object:
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from shared.cli import verbs

    return verbs.app
