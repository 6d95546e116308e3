"""The command line on a disk that takes its time: `python -m tests.slow_disk MILLISECONDS COMMAND...`.

Every sync to the disk waits that long, with several at once beside each other, as the commits of a journal do.
"""

import os
import sys
import time

from shared.cli import app


def slow_down(milliseconds: float) -> None:
    """Make every sync of this process wait."""
    sync = os.fsync

    def wait_and_sync(descriptor: int) -> None:
        time.sleep(milliseconds / 1000)
        sync(descriptor)

    os.fsync = wait_and_sync  # type: ignore[assignment]


if __name__ == "__main__":
    slow_down(float(sys.argv[1]))
    del sys.argv[1]
    app()
