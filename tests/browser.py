"""A real browser for tests: Debian's chromium without a screen, and the page as its own process."""

import base64
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
MISSING = "there is no chromium here: apt-get install chromium"
FLAGS = [
    "--no-sandbox",  # tests may run as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
]
PROGRAM = (sys.executable, "-P", "-m", "shared.cli")
DROP = """async ([area, name, data]) => {
  const files = new DataTransfer();
  files.items.add(new File([Uint8Array.from(atob(data), one => one.charCodeAt(0))], name, {type: 'image/jpeg'}));
  const fire = (target, kind) =>
    target.dispatchEvent(new DragEvent(kind, {bubbles: true, cancelable: true, dataTransfer: files}));
  const box = document.querySelector(area).getBoundingClientRect();
  const below = () => document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2);
  fire(below(), 'dragenter');
  fire(below(), 'dragover');
  await new Promise(done => setTimeout(done, 200));
  fire(below(), 'dragover');
  fire(below(), 'drop');
}"""
LISTENS = re.compile(r"the page of .*: (http://\S+)")


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Start the browser with a profile of its own, which can reach nothing but the loopback."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


def drop_file(page: Page, area: str, file: Path) -> None:
    """Drag a file over the middle of an element and drop it there, as a mouse would."""
    page.evaluate(DROP, [area, file.name, base64.b64encode(file.read_bytes()).decode()])


@contextmanager
def run_page(bucket: Path | str, *options: str, program: Sequence[str] = PROGRAM, **environment: str) -> Iterator[str]:
    """Run `photog page` on a free port; yields its address. What it logs is shown if it ends by itself."""
    command = [*program, "page", str(bucket), "--port", "0", *options]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | environment)
        assert process.stderr is not None
        address = ""
        for line in process.stderr:
            log.write(line)
            if (found := LISTENS.search(line)) is not None:
                address = found[1]
                break
        rest = process.stderr
        reading = threading.Thread(target=lambda: [log.write(line) for line in rest], daemon=True)
        reading.start()
        try:
            if not address:
                log.seek(0)
                raise AssertionError(log.read())
            yield address
        finally:
            process.terminate()
            process.wait(30)
            reading.join()
            process.stderr.close()
