"""Tokens: what the gateway spends to verify one, and how long it takes to get one over HTTP."""

import asyncio
import base64
import http.client
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from statistics import median
from unittest.mock import patch
from urllib.parse import urlencode, urlsplit

import orjson
from argon2 import PasswordHasher
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256

from api.oauth.authority import open_authority
from api.oauth.clients.registration import register
from api.oauth.grant_types import CLIENT_CREDENTIALS, TOKEN_EXCHANGE, USER_ID
from api.oauth.tokens.signing_keys import BITS
from api.oauth.tokens.verifier import Verifier
from benchmarks.figures import Figure
from benchmarks.oauth_browser import register_app, signing_in
from cli.gateway_client import answers
from cli.local.deployment import Deployment, open_deployment
from cli.stack.folder import free_ports, removed_at_the_end
from cli.stack.processes import wait_until
from core.settings import Settings
from db.clients import create_client
from db.postgres import connect_pool

MINUTES = 1
CLIENT, SECRET = "benchmark", "a-secret-of-the-benchmark"
SCOPE = "recommendations:read profiles:read events:write"
ROUNDS = 15  # of each pair: the figure is the median of the rounds, its interval the least and the greatest
HITS, MISSES, CALLS = 2_000, 100, 20  # in a round: remembered tokens, new tokens, requests over HTTP
WARM_UP = 20  # requests
OWN = {"grant_type": CLIENT_CREDENTIALS}
EXCHANGE = {"grant_type": TOKEN_EXCHANGE, "subject_token": "u1", "subject_token_type": USER_ID}


class Endpoint:
    """One kept-alive connection to the gateway, for one client."""

    def __init__(self, base_url: str) -> None:
        address = urlsplit(base_url)
        self._connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
        credentials = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        self._headers = {
            "Authorization": f"Basic {credentials}",
            "Content-Type": "application/x-www-form-urlencoded",
        }

    def token(self, form: Mapping[str, str]) -> str:
        """The access token that this form gets."""
        self._connection.request("POST", "/oauth/token", urlencode(form), self._headers)
        answer = self._connection.getresponse()
        body = answer.read()
        assert answer.status == 200, body
        return str(orjson.loads(body)["access_token"])

    def alive(self) -> None:
        """Ask for the smallest answer of the gateway: what HTTP alone costs."""
        self._connection.request("GET", "/healthz")
        assert self._connection.getresponse().read()

    def reopen(self) -> None:
        """Take a new connection, and use it once."""
        self._connection.close()
        self.alive()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def run(seed: int) -> dict[str, Figure]:
    """Measure on a gateway of its own, with private stores and no data."""
    with _site() as site:
        asyncio.run(_register(site))
        endpoint = Endpoint(site.base_url)
        tokens = [endpoint.token(OWN) for _ in range(MISSES)]
        private = rsa.generate_private_key(65537, BITS)  # for the references: of our keys' size
        figures = asyncio.run(_verifying(site, tokens, private)) | _issuing(endpoint, private)
        asyncio.run(register_app(site))
        figures |= signing_in(site)
        endpoint.close()
    return figures


@contextmanager
def _site() -> Iterator[Deployment]:
    """Stores and a gateway that answers; nothing else."""
    (port,) = free_ports(1)
    with (
        removed_at_the_end("benchmark") as path,
        open_deployment(path, port) as site,
    ):
        site.start_stores(lambda _: None)
        gateway = site.processes.start(site.command("gateway"))
        wait_until(lambda: answers(f"{site.base_url}/readyz"), [gateway], 60)
        yield site


async def _register(site: Deployment) -> None:
    async with await connect_pool(site.postgres_url, size=1) as pool:
        grants = [CLIENT_CREDENTIALS, TOKEN_EXCHANGE]
        assert await create_client(pool, register(CLIENT, SECRET, grants=grants, scope=SCOPE))


async def _verifying(site: Deployment, tokens: list[str], private: RSAPrivateKey) -> dict[str, Figure]:
    """Microseconds of one verification, of a remembered token and of a new one, beside one bare RS256 check."""
    settings = Settings()
    with patch.dict(os.environ, site.settings):
        settings.check("stores", "gateway", "tokens")
    async with (
        await connect_pool(site.postgres_url, size=1) as pool,
        open_authority(settings, pool) as authority,
    ):
        check = _signature_check(private)
        rounds = [
            (
                await _hits(authority.verifier, tokens[0]),
                await _misses(authority.verifier, tokens),
                _milliseconds(check, MISSES) * 1e3,
            )
            for _ in range(ROUNDS)
        ]
    hits, misses, checks = (sorted(column) for column in zip(*rounds, strict=True))
    shares = sorted(miss / check for _, miss, check in rounds)
    return {
        "verify_hit_us": _figure(
            hits, "us", f"one RS256 check by cryptography in the same rounds: {median(checks):.0f}"
        ),
        "verify_miss_us": _figure(misses, "us", f"the same: {median(checks):.0f}"),
        "verify_miss_ratio": _figure(shares, "x", "one RS256 check by cryptography = 1, paired"),
    }


async def _hits(verifier: Verifier, token: str) -> float:
    await verifier.verify(token)
    began = time.perf_counter()
    for _ in range(HITS):
        await verifier.verify(token)
    return (time.perf_counter() - began) / HITS * 1e6


async def _misses(verifier: Verifier, tokens: list[str]) -> float:
    """Each token as if it were new."""
    verifier._remembered.clear()
    began = time.perf_counter()
    for token in tokens:
        await verifier.verify(token)
    return (time.perf_counter() - began) / len(tokens) * 1e6


def _signature_check(private: RSAPrivateKey) -> Callable[[], None]:
    message, public = b"x" * 600, private.public_key()
    signature = private.sign(message, PKCS1v15(), SHA256())
    return lambda: public.verify(signature, message, PKCS1v15(), SHA256())


def _issuing(endpoint: Endpoint, private: RSAPrivateKey) -> dict[str, Figure]:
    """Milliseconds of one token over HTTP, one request at a time, beside what it cannot do without."""
    hasher = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)  # as for client secrets
    calls: dict[str, Callable[[], object]] = {
        "token": lambda: endpoint.token(OWN),
        "exchange": lambda: endpoint.token(EXCHANGE),
        "alive": endpoint.alive,
        "signature": lambda: private.sign(b"x" * 600, PKCS1v15(), SHA256()),
        "argon2": lambda: hasher.hash(SECRET),
    }
    endpoint.reopen()
    for call in calls.values():
        _milliseconds(call, WARM_UP)
    rounds = []
    for _ in range(ROUNDS):
        endpoint.reopen()  # the gateway closes a connection that is idle for some seconds
        rounds.append({name: _milliseconds(call, CALLS) for name, call in calls.items()})
    taken = {name: sorted(each[name] for each in rounds) for name in calls}
    parts = f"an HTTP answer {median(taken['alive']):.2f} + one RS256 signature {median(taken['signature']):.2f}"
    return {
        "token_ms": _figure(taken["token"], "ms", f"{parts}; one argon2 run: {median(taken['argon2']):.0f}"),
        "exchange_ms": _figure(taken["exchange"], "ms", parts),
        "token_ratio": _figure(
            sorted(each["token"] / (each["alive"] + each["signature"]) for each in rounds), "x", f"{parts} = 1, paired"
        ),
    }


def _milliseconds(call: Callable[[], object], times: int) -> float:
    began = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - began) / times * 1e3


def _figure(ordered: list[float], unit: str, reference: str) -> Figure:
    return Figure(median(ordered), unit, ordered[0], ordered[-1], reference)
