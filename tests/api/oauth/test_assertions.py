"""private_key_jwt: a client proves itself with its key. Forged, old and repeated assertions are refused cheaply."""

import asyncio
import base64
import json
import threading
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc import jws
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from starlette.responses import Response

from api.oauth.authority import MAX_WAITING, Authority
from api.oauth.clients import secrets
from api.oauth.clients.assertions import ASSERTION_TYPE
from api.oauth.clients.credentials import Credentials
from api.oauth.clients.guesses import MAX_FAILURES
from core import clock
from core.errors import InvalidInput
from db.clients import disable_client
from db.postgres import Pool
from tests.faults import eventually
from tests.raw_http import DEADLINE

ISSUER = "https://shop.example"
RSA = RSAKey.generate_key(2048, {"kid": "rsa"})
EC = ECKey.generate_key("P-256", {"kid": "ec"})
ED = OKPKey.generate_key("Ed25519", {"kid": "ed"})
STRANGE = ECKey.generate_key("P-256", {"kid": "ec"})
STRANGE_RSA = RSAKey.generate_key(2048, {"kid": "rsa"})
SIGNING = {"RS256": RSA, "PS256": RSA, "ES256": EC, "EdDSA": ED, "Ed25519": ED}
OWN = {"grant_type": "client_credentials"}


def jwks(*keys: Any, private: bool = False) -> str:
    return json.dumps({"keys": [key.as_dict(private=private) for key in keys]})


@pytest.fixture
async def partner(registered: Any) -> None:
    """A client with a key of each kind, and no secret."""
    await registered("partner", secret=None, jwks=jwks(RSA, EC, ED), grants=["client_credentials"])


@pytest.fixture(autouse=True)
def no_argon2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "_matches", None)


ids = iter(range(1_000_000))


class Quiet(jws.JWSRegistry):
    """Signs with EdDSA without joserfc's warning, and whatever the header says."""

    def check_header(self, header: dict[str, Any]) -> None:
        """Take every header."""

    def get_alg(self, name: str) -> Any:
        """The algorithm."""
        return self.algorithms[name]


def assertion(algorithm: str = "ES256", key: Any = None, header: dict[str, Any] | None = None, **claims: Any) -> str:
    """A valid assertion of the partner, with changes; a claim that is None is left out."""
    now = clock.now().timestamp()
    made = {"iss": "partner", "sub": "partner", "aud": ISSUER, "exp": int(now) + 60, "jti": f"j{next(ids)}"} | claims
    key = key or SIGNING[algorithm]
    head = {"alg": algorithm, "kid": key.kid} | (header or {})
    head = {name: value for name, value in head.items() if value is not None}
    body = json.dumps({name: value for name, value in made.items() if value is not None})
    return jws.serialize_compact(head, body, key, registry=Quiet())


async def ask(http: httpx.AsyncClient, text: str, path: str = "token", **more: str) -> httpx.Response:
    form = OWN | {"client_assertion_type": ASSERTION_TYPE, "client_assertion": text} | more
    return await http.post(f"/oauth/{path}", data=form)


def refused(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]


@pytest.mark.usefixtures("partner")
@pytest.mark.parametrize("algorithm", list(SIGNING))
async def test_a_client_authenticates_with_a_key_of_each_kind(http: httpx.AsyncClient, algorithm: str) -> None:
    for text in (assertion(algorithm), assertion(algorithm, header={"kid": None, "typ": "JWT"})):
        answer = await ask(http, text, client_id="partner")
        assert answer.status_code == 200, answer.text
    assert (
        await ask(http, assertion(algorithm, aud=[f"{ISSUER}/oauth/token"], iat=int(clock.now().timestamp())))
    ).is_success


@pytest.mark.usefixtures("partner")
async def test_it_revokes_and_introspects_with_assertions_too(http: httpx.AsyncClient) -> None:
    token = (await ask(http, assertion())).json()["access_token"]
    assert (await ask(http, assertion(), "introspect", token=token)).json()["active"]
    assert (await ask(http, assertion(), "revoke", token=token)).status_code == 200
    assert (await ask(http, assertion(), "introspect", token=token)).json() == {"active": False}
    assert refused(await ask(http, assertion(key=STRANGE), "revoke", token=token)) == (401, "invalid_client")


@pytest.mark.usefixtures("partner")
async def test_an_assertion_counts_once_in_all_processes(http: httpx.AsyncClient, pool: Pool) -> None:
    text = assertion()
    answers = await asyncio.gather(*(ask(http, text) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 7
    assert refused(await ask(http, text, "introspect", token="x")) == (401, "invalid_client")
    await pool.execute("UPDATE oauth_assertions SET expires_at = now() - interval '1 second'")
    assert (await ask(http, assertion())).status_code == 200
    assert await pool.fetchval("SELECT count(*) FROM oauth_assertions") == 1


def now_plus(seconds: float) -> int:
    return int(clock.now().timestamp() + seconds)


@pytest.mark.usefixtures("partner")
@pytest.mark.parametrize(
    "change",
    [
        {"key": STRANGE},
        {"algorithm": "PS256", "header": {"kid": "ec"}},
        {"header": {"kid": "other"}},
        {"header": {"crit": ["exp"]}},
        {
            "key": OctKey.import_key(json.dumps(EC.as_dict(private=False))),
            "algorithm": "HS256",
            "header": {"kid": "ec"},
        },
        {"iss": "shop"},
        {"sub": "shop"},
        {"sub": None},
        {"sub": ["partner"]},
        {"aud": None},
        {"aud": "https://elsewhere.example"},
        {"aud": [{}, 1]},
        {"aud": f"{ISSUER}/"},
        {"exp": None},
        {"exp": "soon"},
        {"exp": True},
        {"exp": -1},
        {"exp": 99_999_999_999},
        {"nbf": 99_999_999_999},
        {"iat": 99_999_999_999},
        {"iat": "now"},
        {"jti": None},
        {"jti": ""},
        {"jti": "j" * 257},
        {"jti": 1},
    ],
)
async def test_a_forged_or_odd_assertion_is_refused(
    http: httpx.AsyncClient, registered: Any, change: dict[str, Any]
) -> None:
    assert refused(await ask(http, assertion(**change))) == (401, "invalid_client")


@pytest.mark.usefixtures("partner")
@pytest.mark.parametrize(
    "text", ["", "x", "a.b", "a.b.c", "é.é.é", "x" * 5000, "e30.e30.e30", "eyJhbGciOiJub25lIn0.e30."]
)
async def test_a_text_that_is_no_assertion_is_refused(http: httpx.AsyncClient, text: str) -> None:
    assert refused(await ask(http, text)) == (401, "invalid_client")


@pytest.mark.usefixtures("partner")
async def test_an_unsigned_assertion_and_one_of_another_type_are_refused(http: httpx.AsyncClient) -> None:
    head, body, _ = assertion().split(".")
    for forged in (f"{head}.{body}.", f"eyJhbGciOiJub25lIn0.{body}."):
        assert refused(await ask(http, forged)) == (401, "invalid_client")
    assert refused(await ask(http, assertion(), client_assertion_type="saml")) == (401, "invalid_client")
    assert refused(await ask(http, assertion(), client_id="other")) == (400, "invalid_request")
    assert refused(await ask(http, assertion(), client_secret="a-secret-of-the-client")) == (400, "invalid_request")


async def test_a_client_authenticates_in_its_own_way_only(
    http: httpx.AsyncClient, registered: Any, partner: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "_matches", lambda stored, secret: False)
    await registered("shop")
    as_shop = assertion(iss="shop", sub="shop")
    assert refused(await ask(http, as_shop)) == (401, "invalid_client")
    assert refused(await http.post("/oauth/token", data=OWN | {"client_id": "partner"})) == (401, "invalid_client")
    basic = await http.post("/oauth/token", data=OWN, auth=("partner", "a-secret-of-the-client"))
    assert refused(basic) == (401, "invalid_client")


@pytest.mark.usefixtures("partner")
async def test_many_forged_assertions_are_refused_before_they_are_read(
    http: httpx.AsyncClient, authority: Authority
) -> None:
    answers = [await ask(http, assertion(key=STRANGE)) for _ in range(MAX_FAILURES + 1)]
    assert [answer.status_code for answer in answers] == [401] * MAX_FAILURES + [429]
    elsewhere = {"x-forwarded-for": "203.0.113.9"}
    form = OWN | {"client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion()}
    assert (await http.post("/oauth/token", data=form, headers=elsewhere)).status_code == 200
    for forged in range(MAX_FAILURES + 1):
        answer = await http.post(
            "/oauth/token", data=form | {"client_assertion": assertion(key=STRANGE)}, headers=elsewhere
        )
        assert answer.status_code == (401 if forged < MAX_FAILURES else 429), "wherever the client was right before"
    form["client_assertion"] = assertion()
    assert (await http.post("/oauth/token", data=form, headers=elsewhere)).status_code == 200  # its key signed this one


@pytest.mark.usefixtures("partner")
async def test_forged_assertions_take_no_place_of_the_client_at_its_own_address(
    http: httpx.AsyncClient, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = assertion()
    assert (await ask(http, used)).status_code == 200
    release, answer = threading.Event(), authority.server.answer

    def answer_later(endpoint: Any, form: Any, headers: Any) -> Response:
        assert form["client_assertion"] in right or release.wait(DEADLINE)
        return answer(endpoint, form, headers)

    monkeypatch.setattr(authority.server, "answer", answer_later)
    right: list[str] = []
    forged = [
        assertion(key=STRANGE),
        assertion("RS256", key=STRANGE_RSA),
        assertion(sub="shop"),
        used,
        assertion(exp=now_plus(-60)),
        assertion(aud="https://elsewhere.example"),
    ]
    flood = [asyncio.create_task(ask(http, text)) for text in forged for _ in range(7)]
    await eventually(lambda: sum(task.done() for task in flood) >= 42 - MAX_WAITING, within=120)  # the refused ones
    assert authority.known.taken == 0
    for algorithm, kid in (("ES256", "ec"), ("RS256", None), ("EdDSA", "ed")):
        right.append(assertion(algorithm, header={"kid": kid}))
        assert (await ask(http, right[-1])).status_code == 200
    release.set()
    assert {(await task).status_code for task in flood} == {401, 503}


@pytest.mark.usefixtures("partner")
async def test_the_keys_of_a_client_that_was_disabled_are_forgotten(
    http: httpx.AsyncClient, authority: Authority, pool: Pool
) -> None:
    assert (await ask(http, assertion())).status_code == 200
    credentials = Credentials("private_key_jwt", "partner", assertion=assertion())
    assert authority.server.remembers(credentials)
    await disable_client(pool, "partner")
    assert refused(await ask(http, assertion())) == (401, "invalid_client")
    assert not authority.server.remembers(credentials)


def signed(header: bytes, claims: bytes) -> str:
    """An assertion of these texts, signed by the partner's key."""
    private = EC.private_key
    assert private is not None
    text = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in (header, claims))
    r, s = decode_dss_signature(private.sign(text, ECDSA(SHA256())))
    signature = base64.urlsafe_b64encode(r.to_bytes(32, "big") + s.to_bytes(32, "big")).rstrip(b"=")
    return b".".join([text, signature]).decode()


def strange_texts() -> dict[str, str]:
    """Assertions that one reader takes and another does not, or that two readers read differently."""
    now = int(clock.now().timestamp())
    head, rest = b'{"alg":"ES256","kid":"ec"}', f'"iss":"partner","sub":"partner","aud":"{ISSUER}","exp":{now + 60}'
    claims = f'{{{rest},"jti":"JTI"}}'
    whole = signed(head, claims.replace("JTI", "good").encode())
    first, second, third = whole.split(".")
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return {
        "good": whole,
        "sub twice": signed(head, f'{{"sub":"shop",{rest},"jti":"a"}}'.encode()),
        "jti twice": signed(head, f'{{"jti":"x",{rest},"jti":"b"}}'.encode()),
        "a name twice deep inside": signed(head, f'{{{rest},"jti":"c","more":[{{"a":1,"a":2}}]}}'.encode()),
        "alg twice": signed(b'{"alg":"none","alg":"ES256","kid":"ec"}', claims.replace("JTI", "d").encode()),
        "NaN": signed(head, f'{{{rest},"jti":"e","iat":NaN}}'.encode()),
        "minus infinity": signed(head, f'{{{rest},"jti":"f","iat":-1e999}}'.encode()),
        "half a character": signed(head, f'{{{rest},"jti":"\\ud800"}}'.encode()),
        "UTF-16": signed(head, claims.replace("JTI", "g").encode("utf-16")),
        "a byte order mark": signed(head, b"\xef\xbb\xbf" + claims.replace("JTI", "h").encode()),
        "nested deeply": signed(head, f'{{{rest},"jti":"i","a":{"[" * 600}{"]" * 600}}}'.encode()),
        "a header nested deeply": signed(b'{"alg":"ES256","kid":"ec","a":' + b"[" * 2000 + b"]" * 2000 + b"}", b"{}"),
        "text behind it": signed(head, claims.replace("JTI", "j").encode() + b"x"),
        "another type": signed(b'{"alg":"ES256","kid":"ec","typ":"dpop+jwt"}', claims.replace("JTI", "k").encode()),
        "a key in it": signed(
            b'{"alg":"ES256","kid":"ec","jku":"https://a.example"}', claims.replace("JTI", "l").encode()
        ),
        "padding": f"{first}.{second}{'=' * (-len(second) % 4 or 4)}.{third}",
        "a blank": f"{first}.{second} .{third}",
        "other spare bits": f"{first}.{second}.{third[:-1]}{letters[letters.index(third[-1]) ^ 1]}",
        "four parts": f"{whole}.{third}",
    }


@pytest.mark.usefixtures("partner")
async def test_an_assertion_has_one_spelling_and_each_name_once(http: httpx.AsyncClient, authority: Authority) -> None:
    texts = strange_texts()
    good = texts.pop("good")
    for name, text in texts.items():
        elsewhere = {"x-forwarded-for": f"203.0.113.{len(name)}"}
        form = OWN | {"client_assertion_type": ASSERTION_TYPE, "client_assertion": text}
        answer = await http.post("/oauth/token", data=form, headers=elsewhere)
        assert refused(answer) == (401, "invalid_client"), name
    assert (await ask(http, good)).status_code == 200


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"keys": []}',
        '{"keys": [1]}',
        '{"keys": {}}',
        jwks(EC, private=True),
        jwks(OctKey.generate_key(256), private=True),
        json.dumps({"keys": [{"kty": "RSA", "e": "AQAB", "n": "_" * 171}]}),
        json.dumps({"keys": [{"kty": "RSA", "e": "AQAB", "n": 5}]}),
        jwks(ECKey.generate_key("P-384")),
        jwks(EC, STRANGE),
        jwks(*[ECKey.generate_key("P-256") for _ in range(11)]),
        jwks(EC)[:-1],
        '{"keys": [' + json.dumps(EC.as_dict(private=False) | {"use": "enc"}) + "]}",
        '{"keys": [' + json.dumps(EC.as_dict(private=False) | {"alg": "RS256"}) + "]}",
        '{"keys": [' + json.dumps(EC.as_dict(private=False) | {"kid": "k" * 129}) + "]}",
        '{"keys": [' + json.dumps(EC.as_dict(private=False) | {"x": "AAAA"}) + "]}",
        jwks(EC) + " " * 16_384,
    ],
    ids=map(str, range(19)),  # keys are new in each process
)
async def test_other_keys_are_not_registered(registered: Any, text: str) -> None:
    with pytest.raises(InvalidInput, match="Public keys are"):
        await registered("partner", secret=None, jwks=text, grants=["client_credentials"])


async def test_only_the_public_parts_are_stored(registered: Any) -> None:
    noted = json.dumps({"keys": [RSA.as_dict(private=False) | {"use": "sig", "note": "ours", "alg": "PS256"}]})
    client = await registered("partner", secret=None, jwks=noted, grants=["client_credentials"])
    (key,) = client.jwks["keys"]
    assert key.keys() == {"kty", "n", "e", "kid", "alg"}
