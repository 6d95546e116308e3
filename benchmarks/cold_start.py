"""Measures what the start of photog's processes costs, in CPU seconds, which a busy machine changes little.

    python -m benchmarks.cold_start [--repeats 5]

| row | program |
|---|---|
| python | nothing |
| command line | `import shared.cli.verbs`, which every command does |
| help | `photog --help`, which also imports the extensions |
| worker FUNCTION | imports the function and loads its models, as a worker's child does |

Rows take turns; the medians count. Files are read from the system's cache: the first turn does not count.
"""

import argparse
import os
import statistics
import subprocess
import sys

from shared.contract.function import NAMES

LOAD = (
    "import gc; gc.disable(); from shared.runtime.context import load_function; from shared.settings import Settings; "
    "load_function('{name}', Settings())"
)
PROGRAMS = {
    "python": ["-c", "pass"],
    "command line": ["-c", "import shared.cli.verbs"],
    "help": ["-m", "shared.cli", "--help"],
    **{f"worker {name}": ["-c", LOAD.format(name=name)] for name in NAMES},
}


def main() -> int:
    """Start every program in turns, and print the median of its CPU seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    turns = [{row: spend(words) for row, words in PROGRAMS.items()} for _ in range(1 + repeats)][1:]
    print(f"{repeats} turns, load {os.getloadavg()[0]:.1f}")
    for row in PROGRAMS:
        print(f"{row:<16}{statistics.median(turn[row] for turn in turns):>6.2f} CPU s")
    return 0


def spend(words: list[str]) -> float:
    """Run Python with these arguments, and return the CPU seconds that it took; raises CalledProcessError."""
    process = subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, words)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main())
