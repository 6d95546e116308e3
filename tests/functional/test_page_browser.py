"""The page in a real browser, with real workers: what a person does, what an operator sees, and what attackers try."""

import hashlib
import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from shared.buckets import FolderBucket
from shared.contract import keys
from shared.contract.manifests import decode, encode, failure, running, success
from shared.contract.users import ReferenceRecord, UserModel
from shared.errors import AnotherPerson
from shared.lifecycle.claims import Claims
from shared.operations.client import Client
from shared.settings import Lease
from tests import zygotes
from tests.browser import CHROMIUM, MISSING, open_browser, run_page
from tests.pictures import astronaut, hopper, jpeg

pytestmark = [pytest.mark.skipif(CHROMIUM is None, reason=MISSING), pytest.mark.timeout(600)]

TOKEN = "a token of the tests"
OLD = 100_000
MOST_LINKS = 50_000  # to one file; 65,000 on ext4
LONGEST_MS = 240_000  # for a portrait, on a busy machine
HOSTILE = "<img src=x onerror=alert(1)>"
NAMELESS = """
[...document.querySelectorAll('button, a[href], input:not([type=hidden]), select, textarea, img, [role=slider]')]
  .filter(one => one.checkVisibility())
  .filter(one => !(one.getAttribute('aria-label') || one.getAttribute('alt') !== null || one.innerText?.trim()
    || one.labels?.length || one.title))
  .map(one => one.outerHTML.slice(0, 200))
"""
FULL = """
[...document.querySelectorAll('.full img')].length == 2 && [...document.querySelectorAll('.full img')]
  .every(one => one.naturalWidth > 0 && one.clientWidth == one.naturalWidth && one.clientHeight == one.naturalHeight)
"""
CHARTED = """
[...document.querySelectorAll('.chart')].some(one =>
  getElement(+one.id.slice(1)).chart?.getOption().series[0].data.some(value => value > 0))
"""
LOADED = """
Promise.all([...document.querySelectorAll('.validation img')].map(async one => {
  one.scrollIntoView();
  await one.decode();
  return one.naturalWidth > 0;
}))
"""
WIDE = """
document.documentElement.scrollWidth <= window.innerWidth + 1 ? [] : [...document.querySelectorAll('body *')]
  .filter(one => one.checkVisibility() && one.getBoundingClientRect().right > window.innerWidth + 1)
  .map(one => one.outerHTML.slice(0, 120))
"""


@pytest.fixture(scope="module")
def folder():
    # in memory where that is possible: a hundred thousand folders take a disk minutes to remove
    memory = Path("/dev/shm")
    place = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="photog-page-", dir=place) as made:
        yield Path(made)


@pytest.fixture(scope="module")
def bucket(folder):
    """Templates, and a hundred thousand old answers, which are links to one file, since only their number matters."""
    made = FolderBucket(folder / "bucket")
    made.put("templates/navy.jpg", jpeg(hopper()[:420, 60:420]))
    results = folder / "bucket" / keys.results("check")
    results.mkdir(parents=True)
    for number in range(OLD):
        if number % MOST_LINKS == 0:
            one = folder / f"old-{number}.json"
            one.write_bytes(encode(success("old", "success", {})))
        name = f"{results}/old-{number:06}"
        os.mkdir(name)
        os.link(one, f"{name}/result.json")
    yield made
    # one process removes them faster than Python does
    subprocess.run(["rm", "-rf", str(results)], check=True)


@pytest.fixture(scope="module")
def address(bucket):
    environment = {"PHOTOG_TOKEN": TOKEN, "OMP_NUM_THREADS": "1"}
    with run_page(bucket.address, "--no-workers", **environment) as found:
        yield found


@contextmanager
def run_worker(function, bucket):
    command = [sys.executable, "-P", "-m", "shared.cli", "worker", function, bucket.address, "--follow-parent"]
    modules = zygotes.LIGHT if function == "check" else zygotes.HEAVY
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    started = zygotes.start(command, modules, stdin=subprocess.PIPE, **quiet)
    yield
    started.terminate()
    started.communicate()


@pytest.fixture(scope="module")
def checker(bucket):
    with run_worker("check", bucket):
        yield


@pytest.fixture(scope="module")
def generator(bucket):
    with run_worker("generate", bucket):
        yield


@pytest.fixture(scope="module")
def browser():
    with open_browser() as made:
        yield made


@pytest.fixture(scope="module")
def session(browser, address):
    """One logged-in viewer; what its pages said by alerts and logged as errors."""
    context = browser.new_context(viewport={"width": 1440, "height": 1000}, accept_downloads=True)
    context.set_default_timeout(60_000)
    page = context.new_page()
    page.goto(address)
    page.fill("input[name=token]", "wrong")
    page.click("button")
    assert "That is not the token" in page.text_content("[role=alert]")
    assert page.url.startswith(address)
    page.fill("input[name=token]", TOKEN)
    page.click("button")
    page.wait_for_selector(".photos")
    yield context
    context.close()


@pytest.fixture
def page(session):
    made = session.new_page()
    said: list[str] = []
    made.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
    made.on("console", lambda line: said.append(line.text) if line.type == "error" else None)
    made.on("pageerror", lambda error: said.append(str(error)))
    abroad: list[str] = []
    made.on("request", lambda one: abroad.append(one.url) if "127.0.0.1" not in one.url else None)
    yield made
    made.close()
    assert [line for line in said if "404" not in line] == []
    assert [url for url in abroad if not url.startswith(("data:", "blob:"))] == [], "nothing is fetched from elsewhere"


@pytest.fixture(scope="module")
def photos(folder):
    face = astronaut()
    good = folder / "good.jpg"
    good.write_bytes(jpeg(face[:320, 60:380]))
    hostile = folder / f"{HOSTILE.replace('/', '')}.jpg"
    hostile.write_bytes(jpeg(face[300:500, :200]))
    drawing = folder / "drawing.jpg"
    drawing.write_bytes(b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>")
    return good, hostile, drawing


def test_a_session_is_a_cookie_that_no_script_and_no_other_site_can_use(session):
    (cookie,) = session.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")


def test_each_face_of_a_group_gets_a_person_by_the_keyboard_alone(page, address, checker, photos, bucket, folder):
    pair = folder / "pair.jpg"
    pair.write_bytes(jpeg(np.hstack([hopper()[:400, 80:380], astronaut()[:400, 60:360]])))
    reference = ReferenceRecord(key="photos/c.jpg", landmarks=[(0, 0)] * 68, box=(0, 0, 9, 9), embedding=[1.0])
    named = {"request_id": "t", "lora": None, "base_model": "b", "face_engine": "f", "trigger": "sks"}
    cleo = UserModel(user_id="cleo", references=[reference], **named)
    bucket.put(keys.model("cleo"), cleo.model_dump_json().encode())
    page.goto(address)
    page.set_input_files(".photos .q-uploader__input", [photos[0], pair])
    page.wait_for_selector(".photo-unusable >> text=Two faces", timeout=LONGEST_MS)
    assert page.locator(".photo-unusable .photo-box").count() == 2
    assert page.locator(".photo-whole .photo-box").count() == 2
    page.set_input_files(".templates .q-uploader__input", pair)
    page.wait_for_selector(".cast-face", timeout=LONGEST_MS)
    page.wait_for_selector(".photo-usable", timeout=LONGEST_MS)
    assert page.locator(".cast-face").count() == 2
    chosen = page.locator(".cast-face .q-field__native").all_inner_texts()
    assert sorted(chosen) == ["Nobody: leave this face as it is", "The person above"]
    other = chosen.index("Nobody: leave this face as it is")
    page.get_by_label(f"Face {other + 1} from the left").focus()
    page.keyboard.press("ArrowDown")
    page.get_by_role("option", name="cleo").wait_for()
    page.keyboard.type("c")
    page.keyboard.press("Enter")
    page.wait_for_selector(f".cast-face:nth-of-type({other + 1}) >> text=cleo")
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate(WIDE) == []
    assert page.evaluate(NAMELESS) == []
    page.get_by_role("button", name="Make portrait").focus()
    page.wait_for_selector(".make-button:not([disabled])")
    page.keyboard.press("Enter")
    page.wait_for_selector(".portrait .stop")
    (info,) = list(bucket.list(keys.requests("generate")))
    configure = decode(bucket.get(info.key))["configure"]
    assert configure["user_id"] == [None if number != other else "cleo" for number in range(2)]
    assert [len(one) for one in configure["references"]] == [int(number != other) for number in range(2)]
    page.locator(".portrait .stop").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(".portrait >> text=Stopped")
    bucket.delete(info.key)
    bucket.delete(keys.model("cleo"))


def test_photos_are_checked_and_become_an_instant_portrait_that_is_downloaded_then_forgotten(
    page, address, checker, generator, photos, bucket
):
    page.goto(address)
    page.set_input_files(".photos .q-uploader__input", photos)
    page.wait_for_selector(".photo-usable", timeout=LONGEST_MS)
    page.wait_for_selector(".photo-unusable", timeout=LONGEST_MS)
    assert page.text_content(".photo-usable .badge") in ("Good", "Usable")
    assert page.locator(".photo-usable .photo-box").count() == 1
    assert "No face found" in page.text_content(".photo-unusable")
    assert "Choose a photo" in page.text_content(".photo-unusable .advice")
    assert page.get_attribute(".photo-unusable img", "alt") == photos[1].name, "a hostile name is an attribute's value"
    assert page.locator(".photo").count() == 2, "a drawing with a script is refused"
    assert page.is_disabled(".make-button")
    page.fill(".person input", "Ann É.")
    page.click(".template")
    page.click(".knob-expansion .q-item")
    for label in ("Steps, first pass", "Steps, second pass"):
        page.get_by_label(label).fill("1")
    page.get_by_label("Seed").fill("7")
    page.wait_for_selector(".make-button:not([disabled])")
    page.click(".make-button")
    page.wait_for_selector(".compare", timeout=LONGEST_MS)
    slider = page.get_by_label("Compare template and portrait")
    slider.focus()
    page.keyboard.press("End")
    assert page.evaluate("document.querySelector('.compare').style.getPropertyValue('--cut')") == "100%"
    assert "Seed 7" in page.text_content(".portrait")
    page.get_by_role("button", name="Full size").focus()
    page.keyboard.press("Enter")
    page.wait_for_function(FULL)
    page.keyboard.press("Escape")
    page.wait_for_selector(".full", state="detached")
    with page.expect_download() as download:
        page.click(".download")
    assert Path(download.value.path()).read_bytes().startswith(b"\x89PNG")
    assert page.evaluate(NAMELESS) == []
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate(WIDE) == []
    (request,) = [info.key for info in bucket.list(keys.requests("generate"))]
    assert b'"first_diffusion_steps": 1' in bucket.get(request)

    page.goto(address + "people")
    assert "ann-e" in page.text_content(".person-card")
    assert page.evaluate(WIDE) == []
    page.get_by_label("Forget ann-e").click()
    page.click(".forget-now")
    page.wait_for_selector("text=Nothing remains", timeout=LONGEST_MS)
    assert Client(bucket).answer("generate", request.split("/")[-1].removesuffix(".json")) is None
    # the server removes the checks of the photos, which are the person's since the portrait, and then the photos
    for _ in range(60):
        if not find_photos(bucket, photos):
            break
        page.wait_for_timeout(500)
    assert find_photos(bucket, photos) == []
    page.click(".forget-done")
    page.wait_for_selector("text=Nobody is kept yet")


def find_photos(bucket, photos):
    """Return the keys of photos of these contents, and of requests and what else is named after them."""
    names = [hashlib.sha256(one.read_bytes()).hexdigest()[:16] for one in photos]
    found = [one.key for root in (keys.PHOTOS, keys.USERS, keys.requests("check")) for one in bucket.list(root)]
    return [key for key in found if any(name in key for name in names)]


def test_a_training_is_followed_live_and_stopped(page, address, bucket, photos, checker):
    page.goto(address)
    files = []
    for number in range(5):
        file = photos[0].with_name(f"train-{number}.jpg")
        file.write_bytes(jpeg(astronaut()[: 300 + number, 60:380]))
        files.append(file)
    page.set_input_files(".photos .q-uploader__input", files)
    page.wait_for_function("document.querySelectorAll('.photo-usable').length == 5", timeout=LONGEST_MS)
    page.reload()
    page.wait_for_function("document.querySelectorAll('.photo-usable').length == 5")
    assert page.locator(".photo").count() == 5
    page.fill(".person input", "bob")
    page.click(".train-options .q-item")
    page.get_by_role("button", name="Train on these photos").click()
    page.wait_for_selector(".training")
    (info,) = list(bucket.list(keys.requests("train")))
    request_id = info.key.split("/")[-1].removesuffix(".json")
    claims = Claims(bucket, "train", Lease(), "worker-of-the-test")
    held = claims.acquire_first(request_id, info.key, "")
    assert held is not None
    for step in (10, 20, 30):
        figures = {"loss": 1 / step, "likeness": 0.4, "validated": step - 1}
        for validated in (0, step - 1):
            name = keys.artifacts("train", request_id, 1) + keys.validation_pictures(validated)
            bucket.put(name, photos[0].read_bytes())
        data = {"stage": "training", "step": step, "steps": 100, "eta_seconds": 80.0 - step, **figures}
        bucket.put(keys.progress("train", request_id), encode(running(request_id, data)))
        page.wait_for_selector(f"text={80 - step} s left")
    assert page.get_attribute(".training .q-linear-progress", "aria-valuenow") == "0.3"
    assert page.locator(".training canvas").count() == 1
    page.wait_for_function("document.querySelectorAll('.validation').length == 4")
    assert page.locator(".validation").all_inner_texts() == ["Before", "Step 9\n0.40", "Step 19\n0.40", "Step 29\n0.40"]
    assert page.evaluate(LOADED) == [True] * 4
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_function(f"({WIDE}).length == 0")  # a chart follows its window a little later
    page.click(".training .stop")
    page.wait_for_selector(".training >> text=Stopped")
    assert page.locator(".validation").count() == 0, "a stopped training keeps no pictures"
    assert claims.beat(request_id, held.record) is None, "the worker loses its claim"
    answer = Client(bucket).answer("train", request_id)
    assert answer is not None
    assert answer["data"]["error"]["type"] == "RequestCanceled"
    bucket.delete(keys.progress("train", request_id))
    replace_the_person(page, bucket, request_id)


def replace_the_person(page, bucket, request_id):
    """A training is refused since its photos show somebody else, and the viewer wants them to replace the person."""
    page.get_by_role("button", name="Train on these photos").click()
    page.wait_for_function("document.querySelectorAll('.training').length == 2")
    refused = next(one for one in list_ids(bucket, "train") if one != request_id)
    error = AnotherPerson("these photos show somebody else than the bob who is known", "images")
    bucket.put(keys.result("train", refused), encode(failure(refused, error, {"cost_time": 0.1})))
    page.get_by_role("button", name="Replace the person").click()
    page.wait_for_function("document.querySelectorAll('.training').length == 3")
    (again,) = set(list_ids(bucket, "train")) - {request_id, refused}
    sent = {one: decode(bucket.get(keys.request("train", one))) for one in (refused, again)}
    assert [one["configure"].pop("another_person") for one in sent.values()] == ["refuse", "replace"]
    assert sent[again]["configure"] == sent[refused]["configure"]
    assert sent[again]["images"] == sent[refused]["images"]


def list_ids(bucket, function):
    names = [info.key.split("/")[-1] for info in bucket.list(keys.requests(function))]
    return [name.removesuffix(".json") for name in names]


def test_operators_find_and_send_again_one_request_of_a_hundred_thousand_whatever_it_says(
    page, address, bucket, checker
):
    body = {"request_id": "hostile-1", "images": [HOSTILE], "configure": {"user_id": HOSTILE, HOSTILE: HOSTILE}}
    bucket.put(keys.request("check", "hostile-1"), encode(body))
    answer = success("hostile-1", HOSTILE, {"check_results": [], "warnings": [HOSTILE], "user_id": HOSTILE})
    bucket.put(keys.result("check", "hostile-1"), encode(answer))
    bucket.put("requests/check/<b>note.txt", b"{}")
    page.goto(address + "operation")
    page.wait_for_selector("text=/of 100,0\\d\\d/", timeout=LONGEST_MS)
    page.wait_for_selector(".worker-idle >> text=Check · idle", timeout=LONGEST_MS)
    page.wait_for_function(CHARTED)
    assert "<b>note.txt" in page.text_content(".trouble")
    assert "rename it" in page.text_content(".trouble")
    page.get_by_label("Search by request or person").fill("old-0777")
    page.wait_for_selector("text=/1 to 25 of 100$/")
    page.wait_for_url("**/operation?state=&text=old-0777")
    page.reload()  # as a browser does by itself that has lost its connection
    page.wait_for_selector("text=/1 to 25 of 100$/", timeout=LONGEST_MS)
    assert page.get_by_label("Search by request or person").input_value() == "old-0777"
    page.get_by_role("button", name="Older").click()
    page.wait_for_selector("text=/26 to 50 of 100$/")
    assert page.locator("tbody tr").count() == 25
    page.get_by_label("Search by request or person").fill("hostile")
    page.wait_for_selector("text=/1 to 1 of 1$/")
    assert page.evaluate(NAMELESS) == []
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate(WIDE) == []
    page.click(".row-link")
    page.wait_for_selector(".code")
    assert HOSTILE in page.text_content(".life")
    assert page.locator(".life img").count() == 0
    assert page.evaluate(WIDE) == []
    page.get_by_role("button", name="Send again under a new id").click()
    page.wait_for_url("**/hostile-1-again-1")
    assert bucket.head(keys.request("check", "hostile-1-again-1")) is not None


def test_pictures_and_pages_are_for_those_who_have_logged_in(browser, address):
    context = browser.new_context()
    page = context.new_page()
    for path in (
        "operation",
        "people",
        "pictures/templates/navy.jpg",
        "_nicegui_ws/socket.io/?EIO=4&transport=polling",
    ):
        answer = page.request.get(address + path)
        assert answer.status == 401, path
    context.close()
