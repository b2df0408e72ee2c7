"""Streams end with their token, and are bounded."""

import asyncio
import time

import pytest

from api.errors import RequestRefused
from api.http.streaming import streams
from api.http.streaming.streams import Streams, token_end
from engine.viewer import Viewer
from tests.fixtures.gateway import IssuedTokens

DEADLINE = 10.0  # seconds
HEADERS = {"authorization": "Bearer token-0"}


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens are checked often."""
    monkeypatch.setattr(streams, "CHECK", 0.01)


def viewer(scopes: str = "models:read", left: float = 3600) -> Viewer:
    return Viewer("shop", frozenset(scopes.split()), None, int(time.time() + left))


async def ends(tokens: IssuedTokens, known: Viewer) -> None:
    headers = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
    async with asyncio.timeout(DEADLINE):
        await token_end(tokens, headers, known)


async def test_a_stream_ends_when_its_token_expires() -> None:
    tokens, known = IssuedTokens(), viewer(left=1)
    tokens.issue(known)
    await ends(tokens, known)
    assert time.time() >= known.expires_at


@pytest.mark.parametrize("scopes", ["models:read catalog:read", ""])
async def test_a_stream_ends_when_its_scopes_change(scopes: str) -> None:
    tokens, known = IssuedTokens(), viewer()
    tokens.issue(viewer(scopes))
    await ends(tokens, known)


async def test_a_stream_ends_when_its_token_is_refused() -> None:
    await ends(IssuedTokens(), viewer())


async def test_a_stream_goes_on_while_its_token_is_good() -> None:
    tokens, known = IssuedTokens(), viewer()
    tokens.issue(known)
    watching = asyncio.create_task(ends(tokens, known))
    done, _ = await asyncio.wait({watching}, timeout=0.2)
    assert not done
    watching.cancel()


async def test_a_place_is_free_again_after_its_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MOST_OF_CALLER", 1)
    found = Streams()
    for _ in range(3):
        with found.of_caller("shop"), found.of_caller("another"):
            with pytest.raises(RequestRefused) as refused:
                found.of_caller("shop").__enter__()
            assert refused.value.status == 429
    with found.websockets.place():
        assert found.websockets.taken == 1
    assert found.websockets.taken == 0
