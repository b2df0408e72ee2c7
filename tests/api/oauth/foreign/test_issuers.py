"""An issuer changes its keys, is away, comes back, is disabled: who is refused, and how often it is asked."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from time import monotonic

import pytest

from api.oauth.foreign import issuers as foreign
from api.oauth.foreign.registration import register_issuer
from api.oauth.tokens.signing_keys import Sealer, SigningKeys
from api.oauth.tokens.verifier import Verifier
from core.errors import KeysUnavailable
from db.issuers import add_issuer, disable_issuer, enable_issuer, remove_issuer
from db.postgres import Pool
from tests.api.oauth.foreign.conftest import OURS, SCOPE, Trust, refused
from tests.faults import eventually
from tests.identity_provider import AUDIENCE, IdentityProvider, identity_provider, new_key

Later = Callable[[float], None]
MINUTE, HOUR = 60.0, 3600.0


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Later:
    """A function that moves the clock of the issuers ahead by some seconds."""
    ahead = [0.0]

    def move(seconds: float) -> None:
        ahead[0] += seconds

    monkeypatch.setattr(foreign, "monotonic", lambda: monotonic() + ahead[0])
    return move


async def until_keys_were_read(provider: IdentityProvider, times: int) -> None:
    """Wait until the keys were read so many times."""
    await eventually(lambda: provider.keys_read >= times)


async def test_a_new_key_is_read_when_its_first_token_arrives(
    provider: IdentityProvider, trust: Trust, verifier: Verifier, later: Later
) -> None:
    await trust()
    old = provider.token_of("u1")
    await verifier.verify(old)
    later(foreign.RETRY)
    provider.keys.insert(0, new_key("k2"))
    new = provider.token_of("u1")
    assert not await refused(verifier, new)
    assert not await refused(verifier, old)
    assert provider.keys_read == 2


async def test_a_key_that_the_issuer_removed_ends_with_the_life_of_the_keys(
    provider: IdentityProvider, trust: Trust, verifier: Verifier, later: Later
) -> None:
    provider.cache_control = "max-age=600"
    await trust()
    old = provider.token_of("u1")
    await verifier.verify(old)
    provider.keys = [new_key("k2")]
    later(599.0)
    assert not await refused(verifier, old)
    later(2.0)
    await verifier.refresh()
    await until_keys_were_read(provider, 2)
    await until(verifier, old, refusal=True)  # the answer is on its way
    assert not await refused(verifier, provider.token_of("u1"))


async def test_a_key_that_keeps_its_id_and_changes_ends_the_tokens_of_the_old_one(
    provider: IdentityProvider, trust: Trust, verifier: Verifier, later: Later
) -> None:
    await trust()
    old = provider.token_of("u1")
    await verifier.verify(old)
    provider.keys = [new_key("k1")]
    later(HOUR + 1)
    await until(verifier, old, refusal=True)
    assert not await refused(verifier, provider.token_of("u1"))


async def test_keys_are_read_ahead_of_the_first_token_and_of_their_end(
    provider: IdentityProvider, trust: Trust, verifier: Verifier, later: Later
) -> None:
    await trust()
    await verifier.refresh()
    await until_keys_were_read(provider, 1)
    await verifier.verify(provider.token_of("u1"))
    assert provider.keys_read == 1
    later(HOUR + 1)
    await verifier.refresh()
    await until_keys_were_read(provider, 2)


async def test_many_tokens_at_once_read_the_keys_once(
    provider: IdentityProvider, trust: Trust, verifier: Verifier
) -> None:
    await trust()
    tokens = [provider.forged() for _ in range(20)]
    viewers = await asyncio.gather(*(verifier.verify(token) for token in tokens))
    assert len(viewers) == 20
    assert provider.keys_read == 1


async def test_keys_that_did_not_change_leave_the_signatures_of_known_tokens_alone(
    provider: IdentityProvider, trust: Trust, verifier: Verifier, later: Later, monkeypatch: pytest.MonkeyPatch
) -> None:
    await trust()
    token = provider.token_of("u1")
    viewer = await verifier.verify(token)
    later(HOUR + 1)
    await verifier.refresh()
    await until_keys_were_read(provider, 2)
    monkeypatch.setattr(foreign, "read_claims", None)
    assert await verifier.verify(token) is viewer


async def test_unknown_keys_make_the_issuer_read_at_most_once_in_thirty_seconds(
    provider: IdentityProvider, trust: Trust, verifier: Verifier, later: Later
) -> None:
    await trust()
    await verifier.verify(provider.token_of("u1"))
    for number in range(20):
        assert await refused(verifier, provider.forged(kid=f"made-up-{number}"))
    assert provider.keys_read == 1
    later(foreign.RETRY)
    assert await refused(verifier, provider.forged(kid="made-up", alg="ES256"))
    assert provider.keys_read == 1, "no key could be for an algorithm that is not registered"
    many = [provider.forged(kid=f"made-up-{number}") for number in range(20)]
    assert all(await asyncio.gather(*(refused(verifier, token) for token in many)))
    assert provider.keys_read == 2


async def test_while_the_issuer_is_away_known_keys_go_on_for_a_day_beyond_their_life(
    provider: IdentityProvider, trust: Trust, verifier: Verifier, later: Later
) -> None:
    await trust()
    known = provider.token_of("u1")
    await verifier.verify(known)
    unknown = provider.forged(key=new_key("k2"), kid="k2")
    provider.stop()
    for _ in range(24):
        later(HOUR)
        assert not await refused(verifier, known)
        assert not await refused(verifier, provider.forged())
        began = monotonic()
        assert await refused(verifier, unknown)  # it waits for the read, so that none began in an earlier hour
        assert monotonic() - began < foreign.PATIENCE
    later(HOUR)
    for token in (known, provider.forged(), unknown):
        with pytest.raises(KeysUnavailable):
            await verifier.verify(token)
    provider.start()
    with pytest.raises(KeysUnavailable):
        await verifier.verify(known)  # it is asked once in 30 seconds
    later(foreign.RETRY)

    async def accepted() -> bool:
        with suppress(KeysUnavailable):  # the keys are being read
            return not await refused(verifier, known)
        return False

    await eventually(accepted)


async def test_an_issuer_that_was_never_reached_is_503_and_quick(
    provider: IdentityProvider, trust: Trust, verifier: Verifier
) -> None:
    token = provider.token_of("u1")
    await trust()
    provider.stop()
    began = monotonic()
    for _ in range(5):
        with pytest.raises(KeysUnavailable):
            await verifier.verify(token)
    assert monotonic() - began < foreign.PATIENCE


async def until(verifier: Verifier, token: str, *, refusal: bool) -> None:
    """Verify until the token is refused, or accepted; fails after three seconds."""
    began = monotonic()
    while await refused(verifier, token) is not refusal:
        assert monotonic() - began < 3
        await asyncio.sleep(0.02)


async def test_an_issuer_is_disabled_enabled_and_removed_within_three_seconds(
    pool: Pool, provider: IdentityProvider, trust: Trust
) -> None:
    keys = SigningKeys(Sealer("k" * 32))
    await keys.start(pool)
    verifier = Verifier(pool, keys, OURS)  # with the interval of production
    await trust()
    token = provider.token_of("u1")
    assert not await refused(verifier, token)
    assert await disable_issuer(pool, provider.url)
    await until(verifier, token, refusal=True)
    assert await enable_issuer(pool, provider.url)
    await until(verifier, token, refusal=False)
    assert await remove_issuer(pool, provider.url)
    await until(verifier, token, refusal=True)
    await verifier.close()


async def test_a_changed_registration_counts_for_tokens_that_were_seen_before(
    pool: Pool, provider: IdentityProvider, trust: Trust, verifier: Verifier
) -> None:
    await trust()
    token = provider.token_of("u1")
    assert (await verifier.verify(token)).scopes == set(SCOPE.split())
    await remove_issuer(pool, provider.url)
    narrower = register_issuer(provider.url, audience=AUDIENCE, scope="events:write")
    await add_issuer(pool, narrower)
    assert (await verifier.verify(token)).scopes == {"events:write"}
    await remove_issuer(pool, provider.url)
    await add_issuer(pool, register_issuer(provider.url, audience="another", scope="events:write"))
    assert await refused(verifier, token)
    assert provider.keys_read == 1, "the keys of an issuer do not depend on what its tokens give"


async def test_the_issuers_are_apart(provider: IdentityProvider, trust: Trust, verifier: Verifier, pool: Pool) -> None:
    await trust()
    with identity_provider() as other:
        other.keys = [new_key("k1")]
        await add_issuer(pool, register_issuer(other.url, audience=AUDIENCE, scope=SCOPE))
        assert (await verifier.verify(other.token_of("u1"))).client_id == other.url
        assert (await verifier.verify(provider.token_of("u1"))).client_id == provider.url
        assert await refused(verifier, other.forged(other.claims(iss=provider.url)))
        assert await refused(verifier, provider.forged(provider.claims(iss=other.url)))
