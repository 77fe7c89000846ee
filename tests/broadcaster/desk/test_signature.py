"""CAP's signature, by three judges: the schema of OASIS, signxml's verifier, and xmlsec1."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import feedparser
import pytest
from aiohttp import encode_basic_auth
from aiohttp.test_utils import TestClient, TestServer
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree
from signxml import InvalidDigest, InvalidSignature, XMLVerifier

from broadcaster.approval import AnyRelease
from broadcaster.desk import cap, feeds, signature
from broadcaster.desk.app import make_app
from broadcaster.desk.deps import Desk
from broadcaster.desk.signature import CapSigner
from broadcaster.errors import Refusal
from broadcaster.ledger import Ledger, incidents, publications
from broadcaster.settings import Settings
from tests.broadcaster.desk import scene

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

CAP = f"{{{cap.NAMESPACE}}}"
DS = "{http://www.w3.org/2000/09/xmldsig#}"


@cache
def rsa_key(bits: int = 2048, which: int = 0) -> rsa.RSAPrivateKey:
    """One key for all tests of this length, since making one takes its time; `which`: another."""
    return rsa.generate_private_key(65537, bits)


def named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def certified(
    key: Key, *, by: Key | None = None, issuer: str = "alerts.example.gov", signs: bool = True,
    authority: bool = False, name: str = "alerts.example.gov", days: int = 90,
) -> x509.Certificate:  # fmt: skip
    """A certificate of this key, signed by another or by itself."""
    now = datetime.now(UTC)
    usage = x509.KeyUsage(
        digital_signature=signs, content_commitment=False, key_encipherment=not signs,
        data_encipherment=False, key_agreement=False, key_cert_sign=authority,
        crl_sign=authority, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    return (
        x509.CertificateBuilder().subject_name(named(name)).issuer_name(named(issuer))
        .public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1)).not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(authority, None), critical=True)
        .add_extension(usage, critical=True)
        .sign(by or key, hashes.SHA256())
    )  # fmt: skip


def pem(of: Key | x509.Certificate, passphrase: bytes | None = None) -> str:
    if isinstance(of, x509.Certificate):
        return of.public_bytes(Encoding.PEM).decode()
    sealed = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return of.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, sealed).decode()


@dataclass(frozen=True)
class Department:
    """A key with its certificate, and the settings that name both."""

    certificate: x509.Certificate
    settings: Settings

    def signer(self) -> CapSigner:
        made = CapSigner.of(self.settings)
        assert made is not None
        return made


@pytest.fixture(scope="session")
def department() -> Department:
    certificate = certified(rsa_key())
    return Department(certificate, with_key(pem(rsa_key()), pem(certificate)))


def with_key(key: str | None, certificate: str | None) -> Settings:
    return Settings.model_validate({"cap_key": key, "cap_certificate": certificate})


@pytest.fixture
def signing(desk: Desk, department: Department) -> Desk:
    return replace(desk, cap_signer=department.signer())


@pytest.fixture
async def reader(signing: Desk, persons: scene.Persons) -> AsyncIterator[TestClient]:
    async with TestClient(TestServer(make_app(signing))) as client:
        await scene.sign_in(client, persons.records)
        yield client


async def paths(client: TestClient) -> list[str]:
    """The addresses of all messages, as the index says them, the newest first."""
    answer = await client.get("/p/cap.atom")
    index = feedparser.parse(await answer.read())
    return [each.links[0].href.removeprefix("http://127.0.0.1:8080") for each in index.entries]


@pytest.fixture(scope="session")
def unsigned(a_desk: Desk) -> bytes:
    one = scene.publication(scene.a_time(), text="Gas leak. Évite la rue & stay inside.")
    return cap.message(a_desk, one, [one])


@pytest.fixture(scope="session")
def message(unsigned: bytes, department: Department) -> bytes:
    return department.signer().sign(unsigned)


def xmlsec1_accepts(message: bytes, trusted: x509.Certificate, folder: Path) -> bool:
    """What Debian's xmlsec1 says, which shares no line with what signs here."""
    if shutil.which("xmlsec1") is None:
        pytest.skip("xmlsec1 is not installed here; scripts/test-deps does it")
    (folder / "trusted.pem").write_text(pem(trusted))
    (folder / "message.xml").write_bytes(message)
    said = subprocess.run(
        ["xmlsec1", "--verify", "--trusted-pem", folder / "trusted.pem", folder / "message.xml"],
        capture_output=True, text=True, timeout=20,
    )  # fmt: skip
    assert (said.returncode == 0) == ("OK" in (said.stdout + said.stderr).split())
    return said.returncode == 0


# --- The judges -------------------------------------------------------------------------------


def test_a_signed_message_fits_the_schema(message: bytes, cap_schema: etree.XMLSchema) -> None:
    alert = etree.fromstring(message)
    cap_schema.assertValid(alert)
    assert alert[-1].tag == f"{DS}Signature", "enveloped, after all that it signs"
    assert alert.findtext(f"{CAP}sent") == "2026-11-22T14:02:00-08:00"
    assert alert.findtext(f"{CAP}status") == "Exercise"


def test_its_signature_is_what_cap_and_its_readers_ask_for(
    message: bytes, department: Department
) -> None:
    alert = etree.fromstring(message)
    used = [each.get("Algorithm") for each in alert[-1].iter() if each.get("Algorithm")]
    exclusive = "http://www.w3.org/2001/10/xml-exc-c14n#"
    assert used == [
        exclusive, "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
        "http://www.w3.org/2000/09/xmldsig#enveloped-signature", exclusive,
        "http://www.w3.org/2001/04/xmlenc#sha256",
    ]  # fmt: skip
    body = "".join(pem(department.certificate).splitlines()[1:-1])
    (told,) = alert.iter(f"{DS}X509Certificate")
    assert "".join((told.text or "").split()) == body


def test_signxml_verifies_it(message: bytes, department: Department) -> None:
    found = XMLVerifier().verify(message, x509_cert=department.certificate)
    assert found.signed_xml.tag == f"{CAP}alert"
    assert found.signed_xml.findtext(f".//{CAP}headline") == "Gas leak"


def test_xmlsec1_verifies_it(message: bytes, department: Department, tmp_path: Path) -> None:
    assert xmlsec1_accepts(message, department.certificate, tmp_path)


def test_nobody_elses_certificate_will_do(message: bytes, tmp_path: Path) -> None:
    assert not xmlsec1_accepts(message, certified(rsa_key(which=1)), tmp_path)


def test_the_certificates_between_it_and_the_root_go_along(unsigned: bytes, tmp_path: Path) -> None:
    root, between, ours = rsa_key(which=1), rsa_key(which=2), rsa_key()
    trusted = certified(root, name="root", issuer="root", authority=True)
    chain = [
        certified(ours, by=between, issuer="between", days=90),
        certified(between, by=root, issuer="root", name="between", authority=True, days=40),
    ]
    signer = CapSigner.of(with_key(pem(ours), "".join(pem(each) for each in chain)))
    assert signer is not None
    assert xmlsec1_accepts(signer.sign(unsigned), trusted, tmp_path)
    assert signer.valid[1] == chain[1].not_valid_after_utc, "the first that ends"


@pytest.mark.parametrize("element", ["identifier", "sent", "status", "description", "areaDesc"])
def test_one_changed_letter_is_found(
    message: bytes, element: str, department: Department, tmp_path: Path
) -> None:
    place = re.search(rf"<{element}>[^<]*[0-9a-z]".encode(), message)
    assert place is not None
    at = place.end() - 1
    changed = message[:at] + bytes([message[at] ^ 1]) + message[at + 1 :]
    with pytest.raises(InvalidDigest):
        XMLVerifier().verify(changed, x509_cert=department.certificate)
    assert not xmlsec1_accepts(changed, department.certificate, tmp_path)


def test_a_changed_signature_is_found(
    message: bytes, department: Department, tmp_path: Path
) -> None:
    value = message.index(b"SignatureValue>") + len(b"SignatureValue>") + 8
    other = b"A" if message[value : value + 1] != b"A" else b"B"
    changed = message[:value] + other + message[value + 1 :]
    with pytest.raises(InvalidSignature):
        XMLVerifier().verify(changed, x509_cert=department.certificate)
    assert not xmlsec1_accepts(changed, department.certificate, tmp_path)


@settings(max_examples=60, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=200))
def test_whatever_it_says_it_verifies(text: str, department: Department) -> None:
    alert = etree.Element(f"{CAP}alert", nsmap={None: cap.NAMESPACE})
    try:
        etree.SubElement(alert, f"{CAP}note").text = text
    except ValueError:  # no character of XML, and none that may be approved
        return
    signer = CapSigner(rsa_key(), [department.certificate])
    message = signer.sign(etree.tostring(alert, encoding="utf-8"))
    found = XMLVerifier().verify(message, x509_cert=department.certificate)
    assert found.signed_xml.findtext(f"{CAP}note") == text


# --- Made once, and kept ----------------------------------------------------------------------


async def test_the_same_bytes_every_time_and_after_a_start(
    reader: TestClient, released: AnyRelease, desk: Desk, department: Department, ledger: Ledger
) -> None:
    (path,) = await paths(reader)
    first, second = [await reader.get(path) for _ in range(2)]
    assert (first.status, first.content_type) == (200, "application/cap+xml")
    message = await first.read()
    assert await second.read() == message
    assert XMLVerifier().verify(message, x509_cert=department.certificate)
    for header in ("ETag", "Last-Modified"):
        assert first.headers[header] == second.headers[header]
        known = {"ETag": "If-None-Match", "Last-Modified": "If-Modified-Since"}[header]
        again = await reader.get(path, headers={known: first.headers[header]})
        assert again.status == 304 and await again.read() == b""
    started = make_app(replace(desk, cap_signer=department.signer()))
    password = await ledger.read(publications.feed_password)
    async with TestClient(TestServer(started)) as client:
        answer = await client.get(path)
        assert answer.status == 401, "an exercise's, signed or not, asks for its password"
        word = {"Authorization": encode_basic_auth(feeds.FEED_USER, password)}
        answer = await client.get(path, headers=word)
        assert await answer.read() == message and answer.headers["ETag"] == first.headers["ETag"]


async def test_a_later_update_leaves_it_as_it_was(
    reader: TestClient, released: AnyRelease, ledger: Ledger, incident: incidents.Kept,
    persons: scene.Persons, clock: scene.HeldClock, department: Department, tmp_path: Path,
) -> None:  # fmt: skip
    (path,) = await paths(reader)
    message = await (await reader.get(path)).read()
    clock.on(minutes=5)
    await scene.told(ledger, incident, persons, clock.now(), text="More.")
    newer, older = await paths(reader)
    assert await (await reader.get(older)).read() == message
    update = await (await reader.get(newer)).read()
    assert etree.fromstring(update).findtext(f"{CAP}msgType") == "Update"
    assert xmlsec1_accepts(update, department.certificate, tmp_path)


class Held(CapSigner):
    """Signs once it is let go, and counts."""

    def begin(self) -> Held:
        self.begun, self.go, self.made = threading.Event(), threading.Event(), 0
        return self

    def sign(self, message: bytes) -> bytes:
        self.made += 1
        self.begun.set()
        assert self.go.wait(20)
        return super().sign(message)


async def test_many_readers_at_once_wait_for_one_signature_and_nobody_else_does(
    desk: Desk, department: Department, released: AnyRelease, persons: scene.Persons
) -> None:
    signer = Held(rsa_key(), [department.certificate]).begin()
    async with TestClient(TestServer(make_app(replace(desk, cap_signer=signer)))) as client:
        await scene.sign_in(client, persons.records)
        (path,) = await paths(client)
        readers = [asyncio.create_task(client.get(path)) for _ in range(10)]
        assert await asyncio.to_thread(signer.begun.wait, 20)
        assert (await client.get("/p/feed.atom")).status == 200, "the loop goes on meanwhile"
        readers[0].cancel()
        signer.go.set()
        answers = await asyncio.gather(*readers[1:])
        assert len({await each.read() for each in answers}) == 1
        assert signer.made == 1


async def test_what_is_kept_has_a_limit(
    department: Department, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signature, "KEPT", 2)
    signer = Held(rsa_key(), [department.certificate]).begin()
    signer.go.set()
    for name in ("a", "b", "b", "c", "c", "a"):
        await signer.signed(f"<{name}/>".encode())
    assert signer.made == 4, "a was signed again"


# --- The settings -----------------------------------------------------------------------------


def test_without_a_key_nothing_is_signed() -> None:
    assert CapSigner.of(Settings()) is None
    assert CapSigner.of(with_key("", "")) is None, "files that are there, and empty"


@pytest.mark.parametrize(
    ("key", "certificate", "said"),
    [
        (lambda: pem(rsa_key()), lambda: "", "belong together"),
        (lambda: "", lambda: pem(certified(rsa_key())), "belong together"),
        (lambda: "hush", lambda: pem(certified(rsa_key())), "without a passphrase"),
        (
            lambda: pem(rsa_key(), passphrase=b"hush"),
            lambda: pem(certified(rsa_key())), "without a passphrase",
        ),
        (lambda: pem(rsa_key()), lambda: "hush", "certificate is no PEM"),
        (
            lambda: pem(ec.generate_private_key(ec.SECP256R1())),
            lambda: pem(certified(rsa_key())), "no RSA key",
        ),
        (lambda: pem(rsa_key(1024)), lambda: pem(certified(rsa_key(1024))), "2048 bits or more"),
        (lambda: pem(rsa_key()), lambda: pem(certified(rsa_key(which=1))), "another key's"),
        (lambda: pem(rsa_key()), lambda: pem(certified(rsa_key(), signs=False)), "key usage"),
    ],
)  # fmt: skip
def test_what_cannot_sign_is_refused_in_words(
    key: Callable[[], str], certificate: Callable[[], str], said: str
) -> None:
    with pytest.raises(Refusal, match=said) as raised:
        CapSigner.of(with_key(key(), certificate()))
    assert raised.value.code == "cap_signature_unusable"
    assert "hush" not in raised.value.in_words and "PRIVATE" not in raised.value.in_words
