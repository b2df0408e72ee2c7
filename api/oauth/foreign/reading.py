"""Reads the keys of a foreign issuer over HTTP, with bounds on everything. Blocks: for a thread, never the event loop.

A hostile answer costs CPU in small steps of Python, which a thread does without delaying the event loop. The addresses
come from the operator and the issuer's own metadata, never from a token. Redirects are not followed, and a proxy of the
environment is not used.
"""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import httpx
import orjson

from api.oauth.foreign.addresses import check_keys_address, metadata_addresses
from api.oauth.foreign.keys import KeySet, UnreadableKeys, read_key_set
from core.errors import InvalidInput
from db.issuers import Issuer

CONNECT_TIMEOUT: Final = 2.0  # seconds
TOTAL_TIMEOUT: Final = 5.0  # seconds, metadata and keys together
LARGEST: Final = 262_144  # bytes of a document
MOST_CHUNKS: Final = 4096
SHORTEST_LIFE, DEFAULT_LIFE, LONGEST_LIFE = 300.0, 3600.0, 86_400.0  # seconds
_MAX_AGE: Final = re.compile(r'max-age="?([0-9]{1,9})"?')
_HEADERS: Final = {"accept": "application/json, application/jwk-set+json, */*;q=0.1", "accept-encoding": "identity"}


@dataclass(frozen=True, slots=True)
class FoundKeys:
    """The keys of an issuer, where they are, and for how many seconds to use them before they are read again."""

    address: str
    keys: KeySet
    life: float


@dataclass(frozen=True, slots=True)
class _Document:
    content: Any
    life: float


class _Absent(UnreadableKeys):
    """There is no such document here; it may be elsewhere."""


def read_keys(issuer: Issuer, proxy: str | None = None) -> FoundKeys:
    """Fetch the issuer's keys, by its metadata unless their address is registered. Raises UnreadableKeys.

    `proxy` is the address of an HTTP proxy that the operator wants.
    """
    return asyncio.run(_read_keys(issuer, proxy))


async def _read_keys(issuer: Issuer, proxy: str | None) -> FoundKeys:
    try:
        async with asyncio.timeout(TOTAL_TIMEOUT), _client(proxy) as client:
            address = issuer.jwks_url or await _find_address(client, issuer.url)
            found = await _fetch(client, address)
    except TimeoutError as error:
        raise UnreadableKeys(f"No answer within {TOTAL_TIMEOUT:g} seconds.") from error
    try:
        return FoundKeys(address, read_key_set(found.content, issuer.algorithms), found.life)
    except UnreadableKeys as error:
        raise UnreadableKeys(f"{address}: {error}") from error


async def _find_address(client: httpx.AsyncClient, url: str) -> str:
    """The address of the keys, from the issuer's metadata."""
    first, second = metadata_addresses(url)
    try:
        metadata = (await _fetch(client, first)).content
    except _Absent:
        metadata, first = (await _fetch(client, second)).content, second
    if not isinstance(metadata, dict) or metadata.get("issuer") != url:
        raise UnreadableKeys(f"{first}: Its `issuer` is not {url}.")
    address = metadata.get("jwks_uri")
    try:
        return check_keys_address(address if isinstance(address, str) else "", url, "jwks_uri")
    except InvalidInput as error:
        raise UnreadableKeys(f"{first}: {error}.") from error


async def _fetch(client: httpx.AsyncClient, address: str) -> _Document:
    """The JSON document at an address. Raises UnreadableKeys, and _Absent where the server has none."""
    try:
        async with client.stream("GET", address) as answer:
            _check_head(answer, address)
            body = await _read_body(answer, address)
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, UnicodeError) as error:
        raise UnreadableKeys(f"{address}: {type(error).__name__}.") from error
    try:
        return _Document(orjson.loads(body), _life_of(answer.headers.get_list("cache-control", split_commas=True)))
    except orjson.JSONDecodeError as error:
        raise UnreadableKeys(f"{address}: The answer is not JSON.") from error


def _check_head(answer: httpx.Response, address: str) -> None:
    if answer.status_code in (404, 405, 410):
        raise _Absent(f"{address}: The answer is {answer.status_code}.")
    if answer.status_code != 200:
        raise UnreadableKeys(f"{address}: The answer is {answer.status_code}.")
    if answer.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise UnreadableKeys(f"{address}: The answer is compressed, although that was not asked for.")


async def _read_body(answer: httpx.Response, address: str) -> bytes:
    body, chunks = bytearray(), 0
    async for chunk in answer.aiter_raw():
        body += chunk
        chunks += 1
        if len(body) > LARGEST or chunks > MOST_CHUNKS:
            raise UnreadableKeys(f"{address}: The answer is larger than {LARGEST:,} bytes, or in too many pieces.")
    return bytes(body)


def _life_of(cache_control: list[str]) -> float:
    """Seconds to use a document, from `Cache-Control`, within bounds."""
    directives = [directive.strip().lower() for directive in cache_control]
    if "no-store" in directives or "no-cache" in directives:
        return SHORTEST_LIFE
    named = next((match for directive in directives if (match := _MAX_AGE.fullmatch(directive))), None)
    return DEFAULT_LIFE if named is None else min(max(float(named[1]), SHORTEST_LIFE), LONGEST_LIFE)


@asynccontextmanager
async def _client(proxy: str | None) -> AsyncIterator[httpx.AsyncClient]:
    timeout = httpx.Timeout(TOTAL_TIMEOUT, connect=CONNECT_TIMEOUT)
    async with httpx.AsyncClient(
        verify=_trusted(), timeout=timeout, headers=_HEADERS, follow_redirects=False, trust_env=False, proxy=proxy
    ) as client:
        yield client


@cache
def _trusted() -> ssl.SSLContext:
    """The certificate authorities: those of `SSL_CERT_FILE` or `SSL_CERT_DIR` when set, else those of Mozilla."""
    return httpx.create_ssl_context()
