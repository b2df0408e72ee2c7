"""The verifier: whose tokens it takes, and what it refuses."""

import asyncio
import base64
import hmac
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import OctKey, RSAKey

from api.http.endpoint import bearer_token
from api.oauth.tokens import verifier
from api.oauth.tokens.keys import Sealer, SigningKeys, generate_key
from api.oauth.tokens.verifier import Verifier
from core import clock
from core.contract import Person
from core.errors import InvalidToken, StoreUnavailable
from db.clients import Client, create_client, disable_client
from db.postgres import connect_pool

ISSUER = "https://shop.example"


class House:
    """A verifier with its keys, and a forge for tokens like theirs."""

    def __init__(self, pool: asyncpg.Pool, keys: SigningKeys) -> None:
        self.keys = keys
        self.verifier = Verifier(pool, keys, ISSUER)

    def claims(self, **changed: Any) -> dict[str, Any]:
        now = int(clock.now().timestamp())
        right: dict[str, Any] = {
            "iss": ISSUER,
            "aud": ISSUER + "/graphql",
            "sub": "u1",
            "person_kind": "user",
            "client_id": "shop",
            "scope": "recommendations:read events:write",
            "jti": "j1",
            "iat": now,
            "exp": now + 900,
        }
        return {name: value for name, value in (right | changed).items() if value is not None}

    def token(self, claims: object = None, key: RSAKey | None = None, **header: object) -> str:
        """Signed by hand, so that no library minds what stands in the header; None leaves a header out."""
        full = {"alg": "RS256", "typ": "at+jwt", "kid": self.keys.signing.kid} | header
        text = f"{b64({k: v for k, v in full.items() if v is not None})}.{b64(claims or self.claims())}"
        private = (key or self.keys.signing).private_key
        assert private is not None
        return f"{text}.{b64(private.sign(text.encode(), PKCS1v15(), SHA256()))}"

    async def refused(self, token: str) -> bool:
        try:
            await self.verifier.verify(token)
        except InvalidToken:
            return True
        return False


@pytest.fixture
async def house(pool: asyncpg.Pool) -> House:
    keys = SigningKeys(Sealer("k" * 32))
    await keys.start(pool)
    return House(pool, keys)


def b64(value: object) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


async def test_a_good_token_names_its_viewer(house: House) -> None:
    viewer = await house.verifier.verify(house.token())
    assert viewer.person == Person("user", "u1")
    assert viewer.client_id == "shop"
    assert viewer.scopes == {"recommendations:read", "events:write"}
    assert 890 < viewer.expires_at - clock.now().timestamp() <= 900


async def test_tokens_without_algorithm_are_refused(house: House) -> None:
    for algorithm in ("none", "None", "NONE", ""):
        header = {"alg": algorithm, "typ": "at+jwt", "kid": house.keys.signing.kid}
        assert await house.refused(f"{b64(header)}.{b64(house.claims())}.")


async def test_the_public_key_does_not_do_as_a_shared_secret(house: House) -> None:
    public = house.keys.signing.public_key
    for secret in (
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        json.dumps(house.keys.jwks()["keys"][0]).encode(),
    ):
        text = f"{b64({'alg': 'HS256', 'typ': 'at+jwt', 'kid': house.keys.signing.kid})}.{b64(house.claims())}"
        assert await house.refused(f"{text}.{b64(hmac.digest(secret, text.encode(), 'sha256'))}")


@pytest.mark.parametrize(
    "header",
    [
        {"typ": "JWT"},
        {"typ": "at+JWT "},
        {"typ": None},
        {"typ": "application/at+jwt"},
        {"alg": "RS512"},
        {"kid": None},
        {"kid": "unknown"},
        {"kid": ["a"]},
        {"kid": {"a": 1}},
        {"jku": "https://attacker.example/jwks.json"},
        {"x5u": "https://attacker.example/cert"},
        {"crit": ["exp"], "exp": 1},
        {"b64": False, "crit": ["b64"]},
        {"cty": "JWT"},
        {"padding": "x" * 20_000},
    ],
)
async def test_only_our_own_header_is_taken(house: House, header: dict[str, Any]) -> None:
    assert await house.refused(house.token(**header))


@pytest.mark.parametrize("algorithm", ["RS384", "RS512", "PS256"])
async def test_other_algorithms_of_our_own_key_are_refused(house: House, algorithm: str) -> None:
    header = {"alg": algorithm, "typ": "at+jwt", "kid": house.keys.signing.kid}
    key = RSAKey.import_key({k: v for k, v in house.keys.signing.as_dict(private=True).items() if k != "alg"})
    token = jws.serialize_compact(header, json.dumps(house.claims()), key, algorithms=[algorithm])
    assert await house.refused(token)


async def test_a_key_that_comes_with_the_token_is_not_used(house: House) -> None:
    theirs = generate_key()
    jwk = dict(theirs.as_dict(private=False))
    assert await house.refused(house.token(key=theirs, jwk=jwk))
    assert await house.refused(house.token(key=theirs, jwk=jwk, kid=theirs.kid))
    assert await house.refused(house.token(key=theirs))
    assert await house.refused(house.token(key=theirs, kid=theirs.kid))
    assert not await house.refused(house.token())


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "https://attacker.example"},
        {"iss": ISSUER + "/"},
        {"iss": None},
        {"aud": ISSUER},
        {"aud": "shop"},
        {"aud": [ISSUER + "/graphql"]},
        {"aud": None},
        {"exp": None},
        {"exp": "9999999999"},
        {"exp": True},
        {"exp": 1e300},
        {"exp": 1},
        {"sub": None},
        {"sub": 7},
        {"sub": ["u1"]},
        {"client_id": None},
        {"scope": None},
        {"scope": ["recommendations:read"]},
        {"jti": None},
        {"person_kind": "admin"},
        {"person_kind": None},
        {"person_kind": "guest"},
        {"sub": "urn:penchant:guest:g1"},
    ],
)
async def test_claims_that_are_not_for_us_are_refused(house: House, changed: dict[str, Any]) -> None:
    assert await house.refused(house.token(house.claims(**changed)))


@pytest.mark.parametrize("claims", [1, "x", [["iss", ISSUER]], [1]])
async def test_claims_that_are_no_object_are_refused(house: House, claims: object) -> None:
    assert await house.refused(house.token(claims))


@pytest.mark.parametrize(
    "token", ["", ".", "..", "...", "a.b.c", "e30.e30.e30", "W10.e30.", "bnVsbA.e30.", "é.b.c", "\ud800", "x" * 9000]
)
async def test_what_is_no_token_is_refused(house: House, token: str) -> None:
    assert await house.refused(token)


async def test_a_header_that_is_no_object_is_refused(house: House) -> None:
    rest = house.token().partition(".")[2]
    for header in (b"[]", b"null", b"1", b'"x"', b"{", b"[" * 300, b'{"alg":{},"typ":[],"kid":1}', b"\xff"):
        assert await house.refused(f"{b64(header)}.{rest}")


@given(data=st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_change_of_a_token_passes(house: House, data: st.DataObject) -> None:
    token = house.token()
    place = data.draw(st.integers(0, token.rindex(".")))
    letter = data.draw(st.sampled_from("ABCxyz019-_.= é"))
    changed = token[:place] + letter + token[place + 1 :]
    assert changed == token or await house.refused(changed)


async def test_expiry_is_checked_on_each_use(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    token = house.token(house.claims(exp=int(clock.now().timestamp()) + 60))
    assert not await house.refused(token)
    later = clock.now() + timedelta(seconds=61)
    monkeypatch.setattr(clock, "now", lambda: later)
    assert await house.refused(token)


async def test_a_signature_is_checked_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    token = house.token()
    first = await house.verifier.verify(token)
    monkeypatch.setattr(verifier, "_open", None)
    assert await house.verifier.verify(token) is first


async def test_remembered_tokens_are_bounded(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifier, "REMEMBERED", 3)
    for number in range(10):
        await house.verifier.verify(house.token(house.claims(jti=str(number))))
    assert len(house.verifier._seen) == 3


async def until_refused(house: House, token: str) -> float:
    """Seconds until the token is refused; fails after three."""
    began = monotonic()
    while not await house.refused(token):
        assert monotonic() - began < 3.0
        await asyncio.sleep(0.02)
    return monotonic() - began


async def test_a_revoked_token_is_refused_within_three_seconds(house: House, pool: asyncpg.Pool) -> None:
    token, other = house.token(), house.token(house.claims(jti="j2"))
    assert not await house.refused(token)
    await pool.execute(
        "INSERT INTO oauth_revocations (jti, expires_at) VALUES ('j1', $1)", clock.now() + timedelta(hours=1)
    )
    await until_refused(house, token)
    assert not await house.refused(other)


async def test_a_disabled_clients_tokens_are_refused_within_three_seconds(house: House, pool: asyncpg.Pool) -> None:
    await create_client(pool, Client("shop", None, (), ()))
    token = house.token()
    assert not await house.refused(token)
    await disable_client(pool, "shop")
    await until_refused(house, token)


async def test_a_withdrawn_key_takes_its_tokens_with_it(house: House, pool: asyncpg.Pool) -> None:
    token = house.token()
    assert not await house.refused(token)
    await pool.execute("DELETE FROM oauth_keys")
    await until_refused(house, token)


async def test_known_tokens_are_good_for_a_while_without_postgres(postgres_url: str, house: House) -> None:
    lost = await connect_pool(postgres_url, size=1)
    patient = Verifier(lost, house.keys, ISSUER, poll=0.0)
    hasty = Verifier(lost, house.keys, ISSUER, poll=0.0, blind=0.2)
    for either in (patient, hasty):
        await either.verify(house.token())
    await lost.close()
    with pytest.raises(StoreUnavailable):
        await verify_for(hasty, house.token(), seconds=3.0)
    assert (await patient.verify(house.token())).client_id == "shop"


async def verify_for(verifier: Verifier, token: str, seconds: float) -> None:
    """Verify the token again and again."""
    began = monotonic()
    while monotonic() - began < seconds:
        await verifier.verify(token)
        await asyncio.sleep(0.02)


async def test_a_postgres_that_hangs_delays_a_request_by_half_a_second(postgres_url: str, house: House) -> None:
    async with hanging(postgres_url) as (url, hang), await connect_pool(url, size=1) as slow:
        verifier = Verifier(slow, house.keys, ISSUER, poll=0.0)
        await verifier.verify(house.token())
        hang()
        began = monotonic()
        await asyncio.gather(*(verifier.verify(house.token()) for _ in range(20)))
        assert 0.4 < monotonic() - began < 1.5
        await verifier.close()
        slow.terminate()


@asynccontextmanager
async def hanging(url: str) -> AsyncIterator[tuple[str, Callable[[], None]]]:
    """A way to Postgres that stops carrying anything, without closing, when told to."""
    target, flowing = urlsplit(url), asyncio.Event()
    flowing.set()
    ends: list[asyncio.StreamWriter] = []
    carriers: list[asyncio.Task[None]] = []

    async def carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while piece := await source.read(65_536):
            await flowing.wait()
            sink.write(piece)

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(target.hostname, target.port)
        ends.extend([writer, back])
        carriers.extend(asyncio.create_task(carry(*pair)) for pair in ((reader, back), (there, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield url.replace(f":{target.port}", f":{server.sockets[0].getsockname()[1]}"), flowing.clear
    finally:
        server.close()
        for carrier in carriers:
            carrier.cancel()
        for end in ends:
            end.close()
        await asyncio.gather(*carriers, *(end.wait_closed() for end in ends), return_exceptions=True)


async def test_revocations_never_read_means_nothing_is_known(postgres_url: str, house: House) -> None:
    lost = await connect_pool(postgres_url, size=1)
    await lost.close()
    house.verifier = Verifier(lost, house.keys, ISSUER)
    with pytest.raises(StoreUnavailable):
        await house.verifier.verify(house.token())


def test_a_bearer_token_is_read_from_the_headers() -> None:
    assert bearer_token([(b"host", b"x")]) is None
    assert bearer_token([(b"authorization", b"Bearer abc")]) == "abc"
    assert bearer_token([(b"authorization", b"bearer   abc ")]) == "abc"


@pytest.mark.parametrize(
    "headers",
    [
        [(b"authorization", b"")],
        [(b"authorization", b"Bearer")],
        [(b"authorization", b"Bearer ")],
        [(b"authorization", b"Basic YTpi")],
        [(b"authorization", b"Bearer a\xff")],
        [(b"authorization", b"Bearer a"), (b"authorization", b"Bearer b")],
    ],
)
def test_other_credentials_are_refused(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(InvalidToken):
        bearer_token(headers)


def test_the_algorithm_confusion_key_is_really_symmetric() -> None:
    """The forged HS256 tokens above are well made: joserfc takes one when it is told to."""
    key = OctKey.import_key(b"x" * 32)
    text = f"{b64({'alg': 'HS256'})}.{b64({'a': 1})}"
    token = f"{text}.{b64(hmac.digest(b'x' * 32, text.encode(), 'sha256'))}"
    assert jws.deserialize_compact(token, key, algorithms=["HS256"]).payload == b'{"a": 1}'
