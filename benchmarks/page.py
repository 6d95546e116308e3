"""What the page costs: `python -m benchmarks.page`, with Debian's chromium. About three minutes.

first screen   time from the navigation until the first field takes a letter, and the bytes sent, with an empty and
               with a full cache
20 tabs        memory of the server without and with them, and the CPU that it takes while nothing happens
first verdict  from the drop to the first and the last verdict on six photos, with a worker that is ready
a busy worker  CPU seconds that a worker takes for a check, and checks a second, with no tab and with 20, in turns
old answers    100,000 of them: the first listing, a further one, a search
"""

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import cv2
import skimage.data
from playwright.sync_api import Browser, Page

from demo.__main__ import make_photos
from page.request_index import RequestIndex
from page.settings import PageSettings
from shared.buckets import FolderBucket, MemoryBucket
from shared.contract import keys
from shared.contract.manifests import encode, success
from shared.operations.client import Client
from tests.browser import CHROMIUM, open_browser, run_page

TABS, CHECKS, TURNS, OLD, IDLE_SECONDS = 20, 8, 2, 100_000, 10.0
FIELD = ".person input"
LONGEST_MS = 300_000
TICKS = os.sysconf("SC_CLK_TCK")


def main() -> int:
    """Measure and print everything."""
    if CHROMIUM is None:
        print("there is no chromium: apt-get install chromium", file=sys.stderr)
        return 1
    measure_old_answers()
    with tempfile.TemporaryDirectory(prefix="photog-page-") as folder:
        photos = make_photos(cv2.cvtColor(skimage.data.astronaut(), cv2.COLOR_RGB2BGR), Path(folder) / "photos")
        bucket = FolderBucket(Path(folder) / "bucket")
        with run_page(bucket.address, "--workers") as address, open_browser() as browser:
            server = find_process(bucket.address, " page ")
            measure_first_screen(browser, address)
            measure_first_verdict(browser, address, photos)
            measure_tabs(browser, address, server, bucket, photos)
    return 0


def measure_first_screen(browser: Browser, address: str) -> None:
    """Print times and bytes of the first screen."""
    context = browser.new_context()
    for cache in ("empty", "full"):
        page = context.new_page()
        session = context.new_cdp_session(page)
        session.send("Network.enable")
        sent: list[float] = []
        session.on("Network.loadingFinished", lambda event, sent=sent: sent.append(event["encodedDataLength"]))
        started = time.monotonic()
        page.goto(address)
        page.fill(FIELD, "a")
        page.wait_for_selector("text=Make portrait")
        page.wait_for_function("window.socket ? window.socket.connected : true")
        ready = time.monotonic() - started
        page.wait_for_timeout(1000)
        print(
            f"first screen, {cache} cache: interactive after {ready:.2f} s, {sum(sent) / 1024:.0f} KiB in {len(sent)}"
        )
        page.close()
    context.close()


def measure_first_verdict(browser: Browser, address: str, photos: list[Path]) -> None:
    """Print the time from a drop to the verdicts; once with a cold worker, once with a warm one."""
    for name, dropped in (("cold worker", photos[:1]), ("warm worker", photos[1:])):
        page = browser.new_page()
        page.goto(address)
        page.wait_for_selector(FIELD)
        started = time.monotonic()
        page.set_input_files(".photos .q-uploader__input", dropped)
        page.wait_for_selector(".photo-usable, .photo-unusable", timeout=LONGEST_MS)
        first = time.monotonic() - started
        script = f"document.querySelectorAll('.photo-usable, .photo-unusable').length == {len(dropped)}"
        page.wait_for_function(script, timeout=LONGEST_MS)
        last = time.monotonic() - started
        print(f"first verdict, {name}: {first:.2f} s, the last of {len(dropped)} after {last:.2f} s")
        page.close()


def measure_tabs(browser: Browser, address: str, server: int, bucket: FolderBucket, photos: list[Path]) -> None:
    """Print the server's memory and idle CPU with tabs, and a worker's throughput without and with them in turns."""
    worker = child_of(find_process(bucket.address, " worker check "))
    bare = memory(server)
    client = Client(bucket)
    keys_of = [client.reference(str(photo)) for photo in photos]
    spent: dict[int, list[float]] = {0: [], TABS: []}
    took: dict[int, list[float]] = {0: [], TABS: []}
    for turn in range(TURNS):
        for count in (0, TABS):
            tabs = open_tabs(browser, address, count)
            if turn == 0:
                before = cpu(server)
                time.sleep(IDLE_SECONDS)
                used = (cpu(server) - before) / IDLE_SECONDS
                told = f"{memory(server):.0f} MiB (bare {bare:.0f}), idle {100 * used:.1f} % of a core"
                print(f"server, {count} tabs: {told}")
            cpu_before, started = cpu(worker), time.monotonic()
            for number in range(CHECKS):
                body = {"request_id": f"b-{turn}-{count}-{number}", "images": [keys_of[number % len(keys_of)]]}
                client.wait("check", client.submit("check", body), timeout_seconds=300)
            spent[count].append((cpu(worker) - cpu_before) / CHECKS)
            took[count].append((time.monotonic() - started) / CHECKS)
            for tab in tabs:
                tab.close()
    for count in (0, TABS):
        print(
            f"a busy worker, {count} tabs: {statistics.mean(spent[count]):.3f} CPU s and "
            f"{statistics.mean(took[count]):.2f} s a check"
        )


def open_tabs(browser: Browser, address: str, count: int) -> list[Page]:
    """Open tabs, half of them on the operator's screen."""
    tabs = []
    for number in range(count):
        tab = browser.new_page()
        tab.goto(address + ("operation" if number % 2 else ""))
        tabs.append(tab)
    return tabs


def measure_old_answers() -> None:
    """Print what the index costs with many old answers."""
    bucket = MemoryBucket()
    for number in range(OLD):
        name = f"old-{number:06}"
        bucket.put(keys.request("check", name), encode({"request_id": name, "images": []}))
        bucket.put(keys.result("check", name), encode(success(name, "success", {})))
    index = RequestIndex(bucket, PageSettings())
    for what, work in (
        ("the first listing", index.refresh),
        ("a further listing", index.refresh),
        ("reading 100 of them", index.read_some),
        ("a search", lambda: index.find("", "old-0777", 0, 25)),
        ("the same search by another viewer", lambda: index.find("", "old-0777", 0, 25)),
    ):
        started = time.process_time()
        work()
        print(f"{OLD:,} old answers: {what} takes {1000 * (time.process_time() - started):.1f} ms of CPU")


def find_process(*words: str) -> int:
    """Return the process with all these words in its command line."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if all(word in command for word in words):
                return int(folder.name)
    raise LookupError(words)


def child_of(process: int) -> int:
    """Return the process that does a worker's work."""
    for task in Path(f"/proc/{process}/task").iterdir():
        if children := (task / "children").read_text().split():
            return int(children[0])
    raise LookupError(f"{process} has no child")


def memory(process: int) -> float:
    """Return the memory of a process in MiB."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def cpu(process: int) -> float:
    """Return the CPU seconds of a process."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


if __name__ == "__main__":
    sys.exit(main())
