"""Which headers, algorithms and signatures of a second issuer are accepted."""

import base64
import hmac
import json
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jws
from joserfc.jwk import ECKey, Key

from api.oauth.tokens.verifier import Verifier
from core import clock
from tests.api.oauth.foreign.conftest import OURS, Trust, refused
from tests.identity_provider import IdentityProvider, b64, new_key


@pytest.mark.parametrize("typ", [None, "JWT", "jwt", "at+jwt", "application/at+jwt"])
async def test_types_of_access_tokens_are_accepted(
    provider: IdentityProvider, trust: Trust, verifier: Verifier, typ: str | None
) -> None:
    await trust()
    assert not await refused(verifier, provider.forged(typ=typ))


@pytest.mark.parametrize(
    "header",
    [
        {"typ": "ID"},
        {"typ": "secevent+jwt"},
        {"typ": "dpop+jwt"},
        {"typ": 1},
        {"alg": "RS512"},
        {"alg": "PS256"},
        {"alg": "ES256"},
        {"alg": ["RS256"]},
        {"alg": None},
        {"kid": None},
        {"kid": "unknown"},
        {"kid": ["k1"]},
        {"jwk": {"kty": "oct", "k": "AA"}},
        {"jku": "http://127.0.0.1/keys"},
        {"x5u": "https://attacker.example/cert"},
        {"x5c": ["AA"]},
        {"crit": ["exp"], "exp": 1},
        {"b64": False, "crit": ["b64"]},
        {"zip": "DEF"},
        {"cty": "JWT"},
        {"padding": "x" * 600},
    ],
)
async def test_other_headers_are_refused(
    provider: IdentityProvider, trust: Trust, verifier: Verifier, header: dict[str, Any]
) -> None:
    await trust()
    assert await refused(verifier, provider.forged(**header))


async def test_tokens_without_algorithm_are_refused(
    provider: IdentityProvider, trust: Trust, verifier: Verifier
) -> None:
    await trust()
    for algorithm in ("none", "None", "nOnE", "NONE", ""):
        header = {"alg": algorithm, "typ": "JWT", "kid": "k1"}
        assert await refused(verifier, f"{b64(header)}.{b64(provider.claims())}.")


async def test_the_public_key_is_not_accepted_as_a_shared_secret(
    provider: IdentityProvider, trust: Trust, verifier: Verifier
) -> None:
    await trust()
    public: Any = provider.keys[0].get_op_key("verify")
    for secret in (
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        json.dumps(provider.jwks()["keys"][0]).encode(),
    ):
        text = f"{b64({'alg': 'HS256', 'typ': 'JWT', 'kid': 'k1'})}.{b64(provider.claims())}"
        assert await refused(verifier, f"{text}.{b64(hmac.digest(secret, text.encode(), 'sha256'))}")


async def test_a_signature_of_another_key_is_refused(
    provider: IdentityProvider, trust: Trust, verifier: Verifier
) -> None:
    await trust()
    theirs = new_key("k1")
    assert await refused(verifier, provider.forged(key=theirs))
    token = provider.forged()
    head, _, signature = token.rpartition(".")
    other = provider.forged(provider.claims(sub="u2")).rpartition(".")[0]
    for forged in (f"{head}.", f"{head}.{signature[:-8]}", f"{other}.{signature}", f"{head}.{signature}.x"):
        assert await refused(verifier, forged)
    assert not await refused(verifier, token)


async def test_our_own_key_signs_no_foreign_token_and_theirs_none_of_ours(
    provider: IdentityProvider, trust: Trust, verifier: Verifier
) -> None:
    await trust()
    await verifier.refresh()
    ours = {"iss": OURS, "aud": OURS + "/graphql", "person_kind": "user"}
    assert await refused(verifier, provider.forged(provider.claims(**ours)))
    client = provider.claims(iss=OURS, aud=OURS + "/graphql", sub="shop", client_id="shop")
    assert await refused(verifier, provider.forged(client))
    signing = verifier._keys.signing
    assert await refused(verifier, provider.forged(key=signing, kid=signing.kid))


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
async def test_each_algorithm_works_when_it_is_registered_and_only_then(
    provider: IdentityProvider, trust: Trust, verifier: Verifier, algorithm: str
) -> None:
    provider.keys = [new_key("good", algorithm), new_key("k1", "ES256" if algorithm == "RS256" else "RS256")]
    await trust(algorithms=[algorithm])
    assert not await refused(verifier, provider.forged())
    assert await refused(verifier, provider.forged(key=provider.keys[1], kid="k1"))


async def test_an_edwards_key_may_have_either_name(
    provider: IdentityProvider, trust: Trust, verifier: Verifier
) -> None:
    provider.keys = [new_key("e", "EdDSA")]
    await trust(algorithms=["EdDSA"])
    for name in ("EdDSA", "Ed25519"):
        assert not await refused(verifier, provider.forged(alg=name))


async def test_a_key_without_algorithm_has_exactly_one(
    provider: IdentityProvider, trust: Trust, verifier: Verifier
) -> None:
    without: Key = ECKey.generate_key("P-256", {"kid": "k1"})
    rsa = new_key("k2")
    provider.keys = [without, rsa]
    await trust(algorithms=["PS256", "RS256", "ES256"])
    assert not await refused(verifier, provider.forged(key=without, alg="ES256", sign_with="ES256"))
    assert not await refused(verifier, provider.forged(key=rsa, kid="k2"))
    assert await refused(verifier, provider.forged(key=rsa, kid="k2", alg="PS256", sign_with="PS256"))


async def test_a_signature_is_checked_once_and_expiry_on_each_use(
    provider: IdentityProvider, trust: Trust, verifier: Verifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    await trust()
    token = provider.token_of("u1")
    first = await verifier.verify(token)
    monkeypatch.setattr("api.oauth.foreign.issuers.read_claims", None)
    assert await verifier.verify(token) is first
    later = clock.now() + timedelta(seconds=901)
    monkeypatch.setattr(clock, "now", lambda: later)
    assert await refused(verifier, token)


async def test_a_token_has_one_spelling_and_each_name_once(
    provider: IdentityProvider, trust: Trust, verifier: Verifier
) -> None:
    await trust()
    key, good = provider.keys[0], provider.forged()
    first, second, third = good.split(".")
    header, claims = b64decoded(first), b64decoded(second)
    inside = claims.decode()[1:-1]
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    signer = jws.JWSRegistry.algorithms["RS256"]

    def signed(header: bytes, claims: bytes) -> str:
        text = f"{b64(header)}.{b64(claims)}"
        return f"{text}.{b64(signer.sign(text.encode(), key))}"

    assert not await refused(verifier, signed(header, claims))
    forged = {
        "sub twice": signed(header, f'{{"sub":"admin",{inside}}}'.encode()),
        "iss twice": signed(header, f'{{"iss":"https://elsewhere.example",{inside}}}'.encode()),
        "a name twice deep inside": signed(header, f'{{{inside},"more":[{{"a":1,"a":2}}]}}'.encode()),
        "alg twice": signed(b'{"alg":"none",' + header[1:], claims),
        "NaN": signed(header, f'{{{inside},"nbf":NaN}}'.encode()),
        "minus infinity": signed(header, f'{{{inside},"nbf":-1e999}}'.encode()),
        "half a character": signed(header, f'{{{inside},"more":"\\ud800"}}'.encode()),
        "UTF-16": signed(header, claims.decode().encode("utf-16")),
        "a byte order mark": signed(header, b"\xef\xbb\xbf" + claims),
        "nested deeply": signed(header, f'{{{inside},"a":{"[" * 600}{"]" * 600}}}'.encode()),
        "text behind it": signed(header, claims + b"x"),
        "padding": f"{first}.{second}.{third}==",
        "a blank": f"{first}.{second} .{third}",
        "other spare bits": f"{first}.{second}.{third[:-1]}{letters[letters.index(third[-1]) ^ 1]}",
        "four parts": f"{good}.{third}",
    }
    for name, token in forged.items():
        assert await refused(verifier, token), name


def b64decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
