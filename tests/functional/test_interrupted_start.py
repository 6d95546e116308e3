"""Ctrl-C while the program's modules are still being imported ends it with one line."""

import subprocess
import sys

# the import of typer, which comes early, is where the signal arrives
INTERRUPTS = """
import os, signal, sys
class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupting())
from shared.cli import main
main()
"""


def test_an_interrupted_import_is_one_line_and_no_traceback():
    done = subprocess.run([sys.executable, "-c", INTERRUPTS], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "photog: stopped\n")
