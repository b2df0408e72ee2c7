"""The verifier: which tokens it accepts, and which it refuses."""

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
from api.oauth.tokens.signing_keys import Sealer, SigningKeys, generate_key
from api.oauth.tokens.verifier import Verifier
from core import clock
from core.contract import Person
from core.errors import InvalidToken, StoreUnavailable
from db.authorizations import revoke_families
from db.clients import Client, create_client, disable_client
from db.postgres import Pool, connect_pool
from engine.scopes import PEOPLE, SCOPES

ISSUER = "https://shop.example"


class Issuer:
    """Issues tokens, right and wrong ones, with signing keys and a verifier of its own."""

    def __init__(self, pool: Pool, keys: SigningKeys) -> None:
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
        """A token signed by hand, so that no library checks its header. None leaves a header out."""
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
async def issuer(pool: Pool) -> Issuer:
    keys = SigningKeys(Sealer("k" * 32))
    await keys.start(pool)
    return Issuer(pool, keys)


def b64(value: object) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


async def test_a_good_token_names_its_viewer(issuer: Issuer) -> None:
    viewer = await issuer.verifier.verify(issuer.token())
    assert viewer.person == Person("user", "u1")
    assert viewer.client_id == "shop"
    assert viewer.scopes == {"recommendations:read", "events:write"}
    assert 890 < viewer.expires_at - clock.now().timestamp() <= 900


async def test_scopes_that_are_not_for_people_do_not_count_in_a_persons_token(issuer: Issuer) -> None:
    every = " ".join(SCOPES)
    for subject in ({}, {"sub": "urn:penchant:guest:g1", "person_kind": "guest"}):
        viewer = await issuer.verifier.verify(issuer.token(issuer.claims(scope=every, **subject)))
        assert viewer.scopes == PEOPLE
    own = issuer.claims(scope=every, sub="shop", person_kind=None)
    assert (await issuer.verifier.verify(issuer.token(own))).scopes == set(SCOPES)


async def test_the_public_key_is_not_accepted_as_a_shared_secret(issuer: Issuer) -> None:
    public = issuer.keys.signing.public_key
    for secret in (
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        json.dumps(issuer.keys.jwks()["keys"][0]).encode(),
    ):
        text = f"{b64({'alg': 'HS256', 'typ': 'at+jwt', 'kid': issuer.keys.signing.kid})}.{b64(issuer.claims())}"
        assert await issuer.refused(f"{text}.{b64(hmac.digest(secret, text.encode(), 'sha256'))}")


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
async def test_only_our_own_header_is_accepted(issuer: Issuer, header: dict[str, Any]) -> None:
    assert await issuer.refused(issuer.token(**header))


@pytest.mark.parametrize("algorithm", ["RS384", "RS512", "PS256"])
async def test_other_algorithms_of_our_own_key_are_refused(issuer: Issuer, algorithm: str) -> None:
    header = {"alg": algorithm, "typ": "at+jwt", "kid": issuer.keys.signing.kid}
    key = RSAKey.import_key({k: v for k, v in issuer.keys.signing.as_dict(private=True).items() if k != "alg"})
    token = jws.serialize_compact(header, json.dumps(issuer.claims()), key, algorithms=[algorithm])
    assert await issuer.refused(token)


async def test_a_key_that_comes_with_the_token_is_not_used(issuer: Issuer) -> None:
    theirs = generate_key()
    jwk = dict(theirs.as_dict(private=False))
    for header in ({"jwk": jwk}, {"jwk": jwk, "kid": theirs.kid}, {}, {"kid": theirs.kid}):
        assert await issuer.refused(issuer.token(key=theirs, **header))
    assert not await issuer.refused(issuer.token())


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
        *({"sub": subject} for subject in (None, 7, ["u1"])),
        {"client_id": None},
        {"scope": None},
        {"scope": ["recommendations:read"]},
        {"scope": " "},
        {"scope": "recommendations:read\u3000events:write"},
        {"scope": "recommendations:read\tevents:write"},
        {"jti": None},
        {"person_kind": "admin"},
        {"person_kind": None},
        {"person_kind": "guest"},
        {"sub": "urn:penchant:guest:g1"},
    ],
)
async def test_claims_that_are_not_for_us_are_refused(issuer: Issuer, changed: dict[str, Any]) -> None:
    assert await issuer.refused(issuer.token(issuer.claims(**changed)))


@pytest.mark.parametrize("claims", [1, "x", [["iss", ISSUER]], [1]])
async def test_claims_that_are_not_an_object_are_refused(issuer: Issuer, claims: object) -> None:
    assert await issuer.refused(issuer.token(claims))


@pytest.mark.parametrize(
    "token", ["", ".", "..", "...", "a.b.c", "e30.e30.e30", "W10.e30.", "bnVsbA.e30.", "é.b.c", "\ud800", "x" * 9000]
)
async def test_a_text_that_is_not_a_token_is_refused(issuer: Issuer, token: str) -> None:
    assert await issuer.refused(token)


async def test_a_header_that_is_not_an_object_is_refused(issuer: Issuer) -> None:
    rest = issuer.token().partition(".")[2]
    for header in (b"[]", b"null", b"1", b'"x"', b"{", b"[" * 300, b'{"alg":{},"typ":[],"kid":1}', b"\xff"):
        assert await issuer.refused(f"{b64(header)}.{rest}")


@given(data=st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_a_changed_token_is_refused(issuer: Issuer, data: st.DataObject) -> None:
    token = issuer.token()
    place = data.draw(st.integers(0, token.rindex(".")))
    letter = data.draw(st.sampled_from("ABCxyz019-_.= é"))
    changed = token[:place] + letter + token[place + 1 :]
    assert changed == token or await issuer.refused(changed)


async def test_expiry_is_checked_on_each_use(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    token = issuer.token(issuer.claims(exp=int(clock.now().timestamp()) + 60))
    assert not await issuer.refused(token)
    later = clock.now() + timedelta(seconds=61)
    monkeypatch.setattr(clock, "now", lambda: later)
    assert await issuer.refused(token)


async def test_a_signature_is_checked_once(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    token = issuer.token()
    first = await issuer.verifier.verify(token)
    monkeypatch.setattr(verifier, "open_access_token", None)
    assert await issuer.verifier.verify(token) is first


async def test_remembered_tokens_are_bounded(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifier, "MAX_REMEMBERED", 3)
    for number in range(10):
        await issuer.verifier.verify(issuer.token(issuer.claims(jti=str(number))))
    assert len(issuer.verifier._remembered) == 3


async def until_refused(issuer: Issuer, token: str) -> float:
    """Seconds until the token is refused; fails after three."""
    began = monotonic()
    while not await issuer.refused(token):
        assert monotonic() - began < 3.0
        await asyncio.sleep(0.02)
    return monotonic() - began


async def test_a_revoked_token_is_refused_within_three_seconds(issuer: Issuer, pool: Pool) -> None:
    token, other = issuer.token(), issuer.token(issuer.claims(jti="j2"))
    assert not await issuer.refused(token)
    await pool.execute(
        "INSERT INTO oauth_revocations (jti, expires_at) VALUES ('j1', $1)", clock.now() + timedelta(hours=1)
    )
    await until_refused(issuer, token)
    assert not await issuer.refused(other)


async def test_all_tokens_of_a_revoked_family_are_refused_within_three_seconds(issuer: Issuer, pool: Pool) -> None:
    await create_client(pool, Client("shop", None, (), ()))
    for family in ("f1", "f2"):
        await pool.execute(
            "INSERT INTO oauth_families (id, client_id, user_id, scopes, auth_time, redirect_uri, code_challenge,"
            " code_hash, code_expires_at, tokens_until, kept_until) VALUES ($1, 'shop', $1, '{openid}', now(), '', '',"
            " $2, now(), now() + interval '1 hour', now() + interval '1 hour')",
            family,
            family.encode(),
        )
    first, second, other = (
        issuer.token(issuer.claims(jti=jti, sid=sid)) for jti, sid in (("a", "f1"), ("b", "f1"), ("c", "f2"))
    )
    assert not await issuer.refused(first)
    assert await revoke_families(pool, ["f1"]) == 1
    await until_refused(issuer, first)
    assert await issuer.refused(second)
    assert not await issuer.refused(other)


async def test_a_family_that_is_no_text_is_no_token_of_ours(issuer: Issuer) -> None:
    assert await issuer.refused(issuer.token(issuer.claims(sid=1)))


async def test_a_disabled_clients_tokens_are_refused_within_three_seconds(issuer: Issuer, pool: Pool) -> None:
    await create_client(pool, Client("shop", None, (), ()))
    token = issuer.token()
    assert not await issuer.refused(token)
    await disable_client(pool, "shop")
    await until_refused(issuer, token)


async def test_tokens_of_a_deleted_key_are_refused(issuer: Issuer, pool: Pool) -> None:
    token = issuer.token()
    assert not await issuer.refused(token)
    await pool.execute("DELETE FROM oauth_keys")
    await until_refused(issuer, token)


async def test_without_postgres_known_tokens_are_accepted_for_a_while(postgres_url: str, issuer: Issuer) -> None:
    lost = await connect_pool(postgres_url, size=1)
    lenient = Verifier(lost, issuer.keys, ISSUER, poll=0.0)
    strict = Verifier(lost, issuer.keys, ISSUER, poll=0.0, max_age=0.2)
    for either in (lenient, strict):
        await either.verify(issuer.token())
    await lost.close()
    with pytest.raises(StoreUnavailable):
        await verify_for(strict, issuer.token(), seconds=3.0)
    assert (await lenient.verify(issuer.token())).client_id == "shop"


async def verify_for(verifier: Verifier, token: str, seconds: float) -> None:
    """Verify the token again and again."""
    began = monotonic()
    while monotonic() - began < seconds:
        await verifier.verify(token)
        await asyncio.sleep(0.02)


async def test_a_postgres_that_hangs_delays_a_request_by_half_a_second(postgres_url: str, issuer: Issuer) -> None:
    async with hanging(postgres_url) as (url, hang), await connect_pool(url, size=1) as slow:
        verifier = Verifier(slow, issuer.keys, ISSUER, poll=0.0)
        await verifier.verify(issuer.token())
        hang()
        began = monotonic()
        await asyncio.gather(*(verifier.verify(issuer.token()) for _ in range(20)))
        assert 0.4 < monotonic() - began < 5, "all of them together, not one after the other"
        await verifier.close()
        slow.terminate()


@asynccontextmanager
async def hanging(url: str) -> AsyncIterator[tuple[str, Callable[[], None]]]:
    """A relay to Postgres, and a function that makes it hang: it carries nothing more, and closes nothing."""
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


async def test_without_any_read_of_revocations_no_token_is_accepted(postgres_url: str, issuer: Issuer) -> None:
    lost = await connect_pool(postgres_url, size=1)
    await lost.close()
    issuer.verifier = Verifier(lost, issuer.keys, ISSUER)
    with pytest.raises(StoreUnavailable):
        await issuer.verifier.verify(issuer.token())


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
    """The forged HS256 tokens above are well formed: joserfc accepts one when HS256 is allowed."""
    key = OctKey.import_key(b"x" * 32)
    text = f"{b64({'alg': 'HS256'})}.{b64({'a': 1})}"
    token = f"{text}.{b64(hmac.digest(b'x' * 32, text.encode(), 'sha256'))}"
    assert jws.deserialize_compact(token, key, algorithms=["HS256"]).payload == b'{"a": 1}'
