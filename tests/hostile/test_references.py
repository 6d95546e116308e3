"""Hostile references: no password and no signature in any message, no connection to any address that is not public."""

import os
import socket
from ipaddress import ip_address

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.check.request import CheckRequest
from functions.check.verify import verify_photos
from functions.generate import template
from shared.errors import NoFaceInTemplate, PhotoError, PhotoUnavailable
from shared.photos import PhotoFetcher, addresses
from shared.photos.references import SHOWN, show_reference, strip_secrets
from shared.settings import Limits
from tests import fake_workspace
from tests.hostile.references import HARMLESS, HOSTS_OF_LOOPBACK, NOT_PUBLIC, PUBLIC, SECRET, WITH_SECRETS
from tests.no_faces import NoFaces

EXAMPLES = int(os.environ.get("PHOTOG_FUZZ_EXAMPLES", "120"))
LONGEST_MESSAGE = 400
FOUND: list[str] = []
FETCHER = PhotoFetcher(Limits(fetch_seconds=5), False, lambda key: None, {}, resolve=lambda host, port: list(FOUND))
EVERYWHERE = [*NOT_PUBLIC, *PUBLIC]


@pytest.fixture(autouse=True)
def called(monkeypatch) -> list[str]:
    """The addresses that somebody wanted to connect to; no packet leaves the process."""
    seen = []

    def refuse(self, address):
        seen.append(address[0])
        raise ConnectionRefusedError(111, f"the far side says {SECRET}")

    def unknown(*arguments, **more):
        raise socket.gaierror(-2, f"unknown, {SECRET}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    return seen


def fetched(reference: str, found: list[str]) -> str:
    """The message of what cannot be fetched, where every host is at `found`."""
    FOUND[:] = found
    (error,) = FETCHER.fetch([reference])
    assert isinstance(error, PhotoError), error
    return error.message


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_what_the_registries_do_not_call_globally_reachable_is_not_public(address):
    assert not addresses.is_public(address), NOT_PUBLIC[address]


@pytest.mark.parametrize("address", PUBLIC)
def test_what_they_call_globally_reachable_is_public(address):
    assert addresses.is_public(address)


def test_every_row_of_the_tables_counts_from_its_first_to_its_last_address():
    for rows, networks in ((addresses.IPV4, addresses.NETWORKS4), (addresses.IPV6, addresses.NETWORKS6)):
        for (text, reachable, _), (network, _) in zip(rows, networks, strict=True):
            for address in (network[0], network[-1]):
                narrower = [other for other, _ in networks if address in other and other.prefixlen > network.prefixlen]
                assert narrower or addresses.is_public(str(address)) == reachable, f"{address} of {text}"


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_nothing_that_python_calls_local_is_public(address):
    if addresses.is_public(str(address)):
        assert not any((address.is_multicast, address.is_loopback, address.is_link_local, address.is_unspecified))
        assert address.version == 6 or address.is_global or str(address) in PUBLIC


@pytest.mark.parametrize("host", HOSTS_OF_LOOPBACK)
def test_however_a_host_is_written_it_counts_where_it_lies(host, called):
    fetched(f"http://{host}/a.jpg", ["127.0.0.1"])
    fetched(f"http://{host}/a.jpg", ["93.184.215.14", "::1"])
    fetched(f"http://{host}/a.jpg", [])
    assert called == []


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(st.sampled_from(EVERYWHERE), max_size=3), st.sampled_from([*HOSTS_OF_LOOPBACK, "photos.example"]))
def test_a_connection_goes_to_public_addresses_alone(found, host):
    seen = []

    def note(self, address):
        seen.append(address[0])
        raise ConnectionRefusedError(111, "refused")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", note)
        fetched(f"http://{host}/a.jpg", found)
    assert all(addresses.is_public(address) for address in seen)
    assert not seen or all(map(addresses.is_public, found))


@pytest.mark.parametrize("reference", WITH_SECRETS)
def test_no_password_or_signature_stands_in_a_message_or_an_answer(reference):
    assert SECRET not in show_reference(reference)
    for found in (["127.0.0.1"], ["93.184.215.14"], []):
        assert SECRET not in fetched(reference, found)
    assert SECRET not in repr(answered([reference]))


@pytest.mark.parametrize("reference", HARMLESS)
def test_a_reference_without_secrets_is_repeated_as_it_came(reference):
    assert strip_secrets(reference) == reference
    answer = answered([reference])
    assert answer.data["images"] == [reference]
    assert answer.data["check_results"][0]["url"] == reference


def test_a_message_still_says_which_picture_is_meant():
    assert show_reference("https://bob:pw@photos.example:8443/people/ann/1.jpg?sig=x#y") == (
        "https://photos.example:8443/people/ann/1.jpg?..."
    )
    assert show_reference("photos/ann/1.jpg") == "photos/ann/1.jpg"
    assert show_reference("s3://photos/ann/1.jpg") == "s3://photos/ann/1.jpg"
    assert show_reference("data:image/png;base64," + "A" * 10_000) == "data:image/png;base64,..."
    assert strip_secrets("https://bob:pw@h.example/1.jpg?v=2&sig=abc") == "https://h.example/1.jpg?v=2&sig=..."


def test_a_template_is_named_in_errors_without_its_password():
    class Blind:
        def detect(self, image):
            return []

    with pytest.raises(NoFaceInTemplate) as raised:
        template.find_faces(
            np.zeros((8, 8, 3), np.uint8), f"https://bob:{SECRET}@photos.example/a.jpg?sig={SECRET}", Blind()
        )
    assert SECRET not in raised.value.message
    assert "photos.example/a.jpg" in raised.value.message


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=30))
def test_a_message_is_one_bounded_line_whatever_the_reference_is(scheme, middle, rest):
    for reference in (scheme, f"{scheme}://{middle}/{rest}", f"http://{middle}@{rest}", f"http://{middle}/{rest}" * 20):
        for message in (show_reference(reference), fetched(reference, ["127.0.0.1"])):
            assert message.isprintable()
            assert len(message) <= LONGEST_MESSAGE
        assert len(show_reference(reference)) <= SHOWN
        strip_secrets(reference)


plain = st.text("abcXYZ019-._~", max_size=8)
names = st.sampled_from(["sig", "token", "X-Amz-Signature", "Signature", "password", "api_key", "code", "se"])


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    st.sampled_from(["http", "https", "HTTP", "s3", "oss", "ftp"]), plain, plain, plain, names, st.sampled_from("?#&;")
)
def test_whatever_a_url_is_made_of_its_secrets_are_left_out(scheme, user, host, path, name, before):
    for reference in (
        f"{scheme}://{user}:{SECRET}@{host}/{path}",
        f"{scheme}://{SECRET}@{host}/{path}",
        f"{scheme}://{user}:{user}{SECRET}@{host}:8080/{path}?{name}={SECRET}",
        f"{scheme}://{host}/{path}?a={path}{before}{name}={SECRET}",
        f"{scheme}://{host}/{path}#{name}={SECRET}",
    ):
        assert SECRET not in show_reference(reference)
        assert SECRET not in strip_secrets(reference)
        assert SECRET not in fetched(reference, ["93.184.215.14"])


def answered(references: list[str]):
    class FakeWorkspace(fake_workspace.FakeWorkspace):
        """A workspace that fetches."""

        def fetch(self, references):
            FOUND[:] = ["127.0.0.1"]
            return FETCHER.fetch(references)

    return verify_photos(CheckRequest(request_id="r", images=references), FakeWorkspace(), NoFaces(), Limits())


def test_an_address_that_cannot_be_reached_is_not_told():
    assert "93.184.215.14" not in fetched("http://photos.example/a.jpg", ["93.184.215.14"])
    assert "Connection refused" in fetched("http://photos.example/a.jpg", ["93.184.215.14"])


def test_an_unreadable_bucket_tells_no_paths():
    def read(key):
        raise PermissionError(13, "Permission denied", "/srv/secret/place/a.jpg")

    (error,) = PhotoFetcher(Limits(), False, read, {}).fetch(["a.jpg"])
    assert isinstance(error, PhotoUnavailable)
    assert error.message == "a.jpg cannot be fetched: Permission denied"


def test_the_table_holds_ip_addresses_only():
    assert all(ip_address(address) for address in PUBLIC)
