"""Keys are read within bounds: whatever a server answers, the read ends, the keys of before stay, and others go on."""

import asyncio
import gzip
import json
import socketserver
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from api.oauth.foreign import issuers as foreign
from api.oauth.foreign import reading
from api.oauth.foreign.addresses import metadata_addresses
from api.oauth.foreign.keys import UnreadableKeys
from api.oauth.foreign.reading import read_keys
from api.oauth.tokens.verifier import Verifier
from core import clock
from core.errors import InvalidToken, KeysUnavailable
from db.issuers import Issuer
from tests.api.oauth.foreign.conftest import Trust
from tests.identity_provider import AUDIENCE, IdentityProvider, b64, new_key

GOOD = {"keys": [new_key("k1").as_dict(private=False)]}
LONGEST_STRETCH = 0.05  # seconds

Answer = Callable[[], Iterable[bytes]]


class Server(socketserver.ThreadingTCPServer):
    """A server on loopback that answers by path, in pieces; without an answer it is silent."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []
        self.stopped = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: the reader hangs up on purpose."""


class _Handler(socketserver.StreamRequestHandler):
    server: Server

    def handle(self) -> None:
        path = self.rfile.readline().split()[1].decode()
        while self.rfile.readline().strip():
            pass
        self.server.asked.append(path)
        if path not in self.server.answers:
            self.server.stopped.wait()
            return
        with suppress(OSError):
            for piece in self.server.answers[path]():
                self.wfile.write(piece)


@pytest.fixture
def server() -> Iterator[Server]:
    with _served() as started:
        yield started


@contextmanager
def _served() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.stopped.set()
            server.shutdown()
            thread.join()


def ok(body: bytes, *headers: str) -> Answer:
    head = "\r\n".join(["HTTP/1.1 200 OK", *headers, f"Content-Length: {len(body)}", "Connection: close", "", ""])
    return lambda: [head.encode() + body]


def said(content: object, *headers: str) -> Answer:
    return ok(json.dumps(content).encode(), *headers)


def issuer_at(url: str, jwks_url: str | None = None) -> Issuer:
    return Issuer(url, AUDIENCE, "sub", ("recommendations:read",), ("RS256",), jwks_url=jwks_url)


def slowly(piece: bytes) -> Answer:
    def drip() -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\n\r\n"
        for _ in range(10_000):
            time.sleep(0.02)
            yield piece

    return drip


def endless_head() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\n"
    for number in range(10_000):
        time.sleep(0.02)
        yield f"x-{number}: 1\r\n".encode()


def large_keys() -> bytes:
    keys = [{"kty": "RSA", "kid": str(n), "n": b64(bytes([255 - n]) + b"\xab" * 1023), "e": "AQAB"} for n in range(100)]
    return json.dumps({"keys": keys}).encode()


HOSTILE: dict[str, Answer] = {
    "ten megabytes": ok(b'{"keys":[]}' + b" " * 10_000_000),
    "ten megabytes of unknown length": lambda: [b"HTTP/1.1 200 OK\r\n\r\n", *([b" " * 100_000] * 100)],
    "a length that lies": ok(b'{"keys":[]}', "Content-Length: 5"),
    "a slow drip": slowly(b" "),
    "a slow head": endless_head,
    "many heads": lambda: [b"HTTP/1.1 200 OK\r\n" + b"a:b\r\n" * 20_000 + b"Content-Length: 2\r\n\r\n{}"],
    "a head without end": lambda: [b"HTTP/1.1 200 OK\r\nx: ", *([b"x" * 100_000] * 50)],
    "tiny pieces": lambda: [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * 200_000 + b"0\r\n\r\n"
    ],
    "a gzip bomb": ok(gzip.compress(b" " * 50_000_000), "Content-Encoding: gzip"),
    "an unknown encoding": ok(b"{}", "Content-Encoding: br"),
    "ten thousand keys": said({"keys": [{}] * 10_000}),
    "no keys": said({"keys": []}),
    "a shared secret": said({"keys": [{"kty": "oct", "kid": "k1", "k": "c2VjcmV0", "alg": "HS256"}]}),
    "a private key": said({"keys": [new_key("k1").as_dict(private=True)]}),
    "deep nesting": ok(b"[" * 200_000),
    "deep nesting that ends": ok(b'{"keys":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "a long number": ok(b'{"keys":' + b"9" * 200_000 + b"}"),
    "many names": ok(b"{" + b",".join(b'"%d":0' % n for n in range(20_000)) + b"}"),
    "no JSON": ok(b"<html>Sign in</html>"),
    "no text": ok(b"\xff\xfe\x00"),
    "nothing": ok(b""),
    "an error": lambda: [b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"],
    "no HTTP": lambda: [b"SSH-2.0-OpenSSH_9.2\r\n"],
    "a closed connection": list,
    "a body that ends early": lambda: [b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"keys":['],
    "a partial answer": lambda: [b"HTTP/1.1 206 OK\r\nContent-Length: 2\r\n\r\n{}"],
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_answer_ends_soon_and_changes_nothing(
    server: Server,
    provider: IdentityProvider,
    trust: Trust,
    verifier: Verifier,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    monkeypatch.setattr(foreign, "RETRY", 0.0)
    server.answers["/keys"] = said(provider.jwks())
    await trust(jwks_url=f"{server.url}/keys")
    before = provider.forged()
    await verifier.verify(before)
    server.answers["/keys"] = HOSTILE[name]
    monkeypatch.setattr(reading, "TOTAL_TIMEOUT", 1.0)
    async with stretches() as longest:
        with pytest.raises(InvalidToken):
            await verifier.verify(provider.forged(kid="unknown"))
    assert longest() < LONGEST_STRETCH
    assert len(server.asked) == 2
    assert (await verifier.verify(before)).person is not None
    assert (await verifier.verify(provider.forged())).person is not None, "the keys of before stay"


async def test_a_hundred_large_keys_do_not_hold_up_the_event_loop(
    server: Server, provider: IdentityProvider, trust: Trust, verifier: Verifier
) -> None:
    server.answers["/keys"] = ok(large_keys())
    await trust(jwks_url=f"{server.url}/keys")
    async with stretches() as longest:
        with pytest.raises(InvalidToken):
            await verifier.verify(provider.forged())
    assert longest() < LONGEST_STRETCH


async def test_a_token_waits_only_briefly_for_a_server_that_is_silent(
    server: Server, provider: IdentityProvider, trust: Trust, verifier: Verifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreign, "PATIENCE", 0.1)
    await trust(jwks_url=f"{server.url}/keys")
    began = time.monotonic()
    with pytest.raises(KeysUnavailable):
        await verifier.verify(provider.forged())
    assert time.monotonic() - began < 5
    began = time.monotonic()
    for _ in range(20):  # the read goes on, and nobody waits for it any more
        with pytest.raises(KeysUnavailable):
            await verifier.verify(provider.forged())
    assert time.monotonic() - began < 5


class stretches:  # noqa: N801
    """Measures how long the event loop computes without a pause, in seconds of its own CPU time."""

    async def __aenter__(self) -> Callable[[], float]:
        self._longest = 0.0
        self._task = asyncio.create_task(self._watch())
        await asyncio.sleep(0)
        return lambda: self._longest

    async def __aexit__(self, *_: object) -> None:
        await asyncio.sleep(0)
        self._task.cancel()

    async def _watch(self) -> None:
        while True:
            began = time.thread_time()
            await asyncio.sleep(0.001)
            self._longest = max(self._longest, time.thread_time() - began)


def test_no_redirect_is_followed(server: Server) -> None:
    with _served() as metadata_server:
        metadata_server.answers["/latest"] = said(GOOD)
        for status in ("301 Moved", "302 Found", "307 Temporary", "308 Permanent"):
            head = f"HTTP/1.1 {status}\r\nLocation: {metadata_server.url}/latest\r\nContent-Length: 0\r\n\r\n"
            server.answers["/keys"] = partial(iter, [head.encode()])
            with pytest.raises(UnreadableKeys, match=status[:3]):
                read_keys(issuer_at(server.url, f"{server.url}/keys"))
        assert metadata_server.asked == []


def test_a_proxy_of_the_environment_is_not_used(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "")
    server.answers["/keys"] = said(GOOD)
    assert list(read_keys(issuer_at(server.url, f"{server.url}/keys")).keys.usable) == ["k1"]


def test_a_proxy_that_the_operator_names_is_used() -> None:
    with _served() as proxy:
        proxy.answers["http://127.0.0.1:1/keys"] = said(GOOD)
        found = read_keys(issuer_at("http://127.0.0.1:1", "http://127.0.0.1:1/keys"), proxy.url)
    assert list(found.keys.usable) == ["k1"]


def test_the_certificate_of_a_server_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = self_signed(tmp_path)
    issuer, secured = issuer_at("https://id.example"), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    secured.load_cert_chain(authority)
    with _served() as server:
        server.socket = secured.wrap_socket(server.socket, server_side=True)
        server.answers["/keys"] = said(GOOD)
        port = server.server_address[1]
        right = replace(issuer, jwks_url=f"https://localhost:{port}/keys")
        with pytest.raises(UnreadableKeys):
            read_keys(right)
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        monkeypatch.setattr(reading, "_trusted", reading._trusted.__wrapped__)  # what it trusts is kept
        assert list(read_keys(right).keys.usable) == ["k1"]
        with pytest.raises(UnreadableKeys):  # the certificate is for another name
            read_keys(replace(issuer, jwks_url=f"https://127.0.0.1:{port}/keys"))


def self_signed(folder: Path) -> Path:
    """A file with a new key and its certificate for `localhost`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(clock.now() - timedelta(days=1))
        .not_valid_after(clock.now() + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, SHA256())
    )
    file = folder / "certificate.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(private + certificate.public_bytes(Encoding.PEM))
    return file


@pytest.mark.parametrize(
    ("url", "first", "second"),
    [
        (
            "https://id.example",
            "https://id.example/.well-known/openid-configuration",
            "https://id.example/.well-known/oauth-authorization-server",
        ),
        (
            "https://id.example/",
            "https://id.example/.well-known/openid-configuration",
            "https://id.example/.well-known/oauth-authorization-server",
        ),
        (
            "https://id.example:8443/realms/shop",
            "https://id.example:8443/realms/shop/.well-known/openid-configuration",
            "https://id.example:8443/.well-known/oauth-authorization-server/realms/shop",
        ),
    ],
)
def test_metadata_is_where_the_standards_say(url: str, first: str, second: str) -> None:
    assert metadata_addresses(url) == (first, second)


def test_metadata_leads_to_the_keys(server: Server) -> None:
    issuer = issuer_at(f"{server.url}/realms/shop")
    openid, oauth = (address.removeprefix(server.url) for address in metadata_addresses(issuer.url))
    metadata = said({"issuer": issuer.url, "jwks_uri": f"{server.url}/certs"})
    server.answers |= {openid: metadata, "/certs": said(GOOD)}
    assert read_keys(issuer).address == f"{server.url}/certs"
    server.answers |= {openid: lambda: [b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"], oauth: metadata}
    assert read_keys(issuer).address == f"{server.url}/certs"
    assert server.asked == [openid, "/certs", openid, oauth, "/certs"]


@pytest.mark.parametrize(
    "changed",
    [
        {"issuer": "https://attacker.example"},
        {"issuer": None},
        {"slash": True},
        {"jwks_uri": None},
        {"jwks_uri": ["x"]},
        {"jwks_uri": ""},
        {"jwks_uri": "http://169.254.169.254/latest/meta-data"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": "https://user@id.example/keys"},
        {"jwks_uri": "https://[::1/keys"},
        {"jwks_uri": "/keys"},
    ],
)
def test_metadata_that_is_not_of_this_issuer_is_refused(server: Server, changed: dict[str, Any]) -> None:
    issuer = issuer_at(server.url)
    path = "/.well-known/openid-configuration"
    right = {"issuer": server.url + ("/" if changed.pop("slash", False) else ""), "jwks_uri": f"{server.url}/keys"}
    server.answers |= {path: said(right | changed), "/keys": said(GOOD)}
    with pytest.raises(UnreadableKeys):
        read_keys(issuer)
    assert server.asked == [path]


@pytest.mark.parametrize(
    ("cache_control", "life"),
    [
        (None, 3600),
        ("max-age=7200", 7200),
        ("public, max-age=1200, must-revalidate", 1200),
        ('Max-Age="1200"', 1200),
        ("max-age=0", 300),
        ("no-store", 300),
        ("no-cache, max-age=7200", 300),
        ("max-age=99999999", 86_400),
        ("max-age=-1", 3600),
        ("max-age=" + "9" * 5000, 3600),
        ("s-maxage=7200", 3600),
    ],
)
def test_keys_are_used_as_long_as_the_server_says_within_bounds(
    server: Server, cache_control: str | None, life: float
) -> None:
    server.answers["/keys"] = said(GOOD, *([f"Cache-Control: {cache_control}"] if cache_control else []))
    assert read_keys(issuer_at(server.url, f"{server.url}/keys")).life == life


def test_any_content_type_will_do(server: Server) -> None:
    for kind in ("application/jwk-set+json; charset=utf-8", "text/plain", "application/octet-stream"):
        server.answers["/keys"] = said(GOOD, f"Content-Type: {kind}")
        assert list(read_keys(issuer_at(server.url, f"{server.url}/keys")).keys.usable) == ["k1"]


def test_a_silent_server_costs_the_whole_time_limit_and_no_more(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "TOTAL_TIMEOUT", 0.2)
    with pytest.raises(UnreadableKeys, match="within"):
        read_keys(issuer_at(server.url))


def test_a_host_without_address_or_certificate_is_an_error_and_not_a_crash(server: Server) -> None:
    for address in ("https://no-such-host.invalid/keys", f"https{server.url.removeprefix('http')}/keys"):
        with pytest.raises(UnreadableKeys):
            read_keys(issuer_at("https://id.example", address))
