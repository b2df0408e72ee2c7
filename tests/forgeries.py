"""Tokens that no gateway may accept: each differs from a good one in one thing."""

import base64
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives import hmac
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS, PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jwe
from joserfc.jwk import RSAKey

from api.oauth.tokens.signing_keys import generate_key
from core import clock

TYPE = "at+jwt"


@dataclass
class Forger:
    """Makes tokens like those of the gateway at `issuer`, with its own key, so that each differs in one thing only."""

    issuer: str
    key: RSAKey

    def claims(self, **changed: Any) -> dict[str, Any]:
        """The claims of a good token of the test's client; None leaves one out."""
        now = int(clock.now().timestamp())
        right: dict[str, Any] = {
            "iss": self.issuer,
            "aud": f"{self.issuer}/graphql",
            "sub": "shop",
            "client_id": "shop",
            "scope": "catalog:read",
            "jti": "forged",
            "iat": now,
            "exp": now + 900,
        }
        return {name: value for name, value in (right | changed).items() if value is not None}

    def header(self, **changed: Any) -> dict[str, Any]:
        """The header of a good token; None leaves a member out."""
        right = {"alg": "RS256", "typ": TYPE, "kid": self.key.kid}
        return {name: value for name, value in (right | changed).items() if value is not None}

    def token(self, claims: Any = None, key: Any = None, **header: Any) -> str:
        """Signed with RS256, whatever the header says."""
        return self.signed(b64(self.header(**header)), b64(self.claims() if claims is None else claims), key)

    def signed(self, header: str, payload: str, key: RSAKey | None = None) -> str:
        """RS256 over two parts as they are."""
        text = f"{header}.{payload}"
        private = (key or self.key).private_key
        assert private is not None
        return f"{text}.{b64(private.sign(text.encode(), PKCS1v15(), SHA256()))}"


def b64(value: Any) -> str:
    """base64url without padding, of bytes or of JSON."""
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def by_algorithm(forger: Forger) -> Iterator[tuple[str, str]]:
    """Another algorithm than ours."""
    payload = b64(forger.claims())
    spellings: list[Any] = ["none", "None", "NONE", "nOnE", "", " none", None, 0, [], ["none"], {"alg": "none"}]
    for name in spellings:
        unsigned = f"{b64(forger.header() | {'alg': name})}.{payload}"
        yield f"alg {name!r}, no signature", f"{unsigned}."
        yield f"alg {name!r}, our signature", forger.token(alg=name)
    public = forger.key.public_key
    jwk = dict(forger.key.as_dict(private=False))
    secrets: dict[str, bytes] = {
        "PEM": public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "PEM, stripped": public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).strip(),
        "PKCS1": public.public_bytes(Encoding.PEM, PublicFormat.PKCS1),
        "DER": public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "JWK": json.dumps(jwk).encode(),
        "JWK, compact": json.dumps(jwk, separators=(",", ":")).encode(),
        "modulus": base64.urlsafe_b64decode(f"{jwk['n']}=="),
        "nothing": b"\0",
    }
    for algorithm, digest in (("HS256", SHA256()), ("HS384", SHA384()), ("HS512", SHA512())):
        text = f"{b64(forger.header(alg=algorithm))}.{payload}"
        for kind, secret in secrets.items():
            mac = hmac.HMAC(secret, digest)
            mac.update(text.encode())
            yield f"{algorithm} with the public key as {kind}", f"{text}.{b64(mac.finalize())}"
    text = f"{b64(forger.header(alg='PS256'))}.{payload}"
    private = forger.key.private_key
    assert private is not None
    yield "PS256 with our key", f"{text}.{b64(private.sign(text.encode(), PSS(MGF1(SHA256()), 32), SHA256()))}"
    for algorithm in ("RS384", "RS512", "ES256", "EdDSA", "rs256", "RS256 "):
        yield f"alg {algorithm}", forger.token(alg=algorithm)
    text = f"{b64(forger.header(alg='ES256'))}.{payload}"
    foreign = ec.generate_private_key(ec.SECP256R1())
    yield "ES256 with a key of theirs", f"{text}.{b64(foreign.sign(text.encode(), ec.ECDSA(SHA256())))}"


def by_header(forger: Forger) -> Iterator[tuple[str, str]]:
    """A header that ours never have."""
    theirs = generate_key()
    jwk = dict(theirs.as_dict(private=False))
    kids: list[Any] = ["unknown", "", "../../../../dev/null", "/dev/null", "' OR '1'='1", "x' UNION SELECT 'k'; --"]
    kids += ["\0", "\r\nX-Other: 1", "http://127.0.0.1:1/key", "ä" * 40, 0, True, [forger.key.kid], {"$ne": ""}]
    for kid in (*kids, theirs.kid):
        yield f"kid {kid!r} of theirs", forger.token(key=theirs, kid=kid)
        yield f"kid {kid!r} of ours", forger.token(kid=kid)
    yield "no kid", forger.token(kid=None)
    yield "our kid, their key", forger.token(key=theirs)
    yield "jwk", forger.token(key=theirs, jwk=jwk, kid=None)
    yield "jwk and our kid", forger.token(key=theirs, jwk=jwk)
    yield "jwk, signed by us", forger.token(jwk=dict(forger.key.as_dict(private=False)))
    for name in ("jku", "x5u"):
        yield name, forger.token(key=theirs, kid=theirs.kid, **{name: "http://127.0.0.1:1/jwks.json"})
        yield f"{name}, signed by us", forger.token(**{name: f"{forger.issuer}/.well-known/jwks.json"})
    yield "x5c", forger.token(key=theirs, x5c=[base64.b64encode(b"certificate").decode()])
    yield "x5t", forger.token(**{"x5t": b64(b"thumb"), "x5t#S256": b64(b"thumb")})
    yield "crit", forger.token(crit=["exp"], exp=1)
    yield "crit, empty", forger.token(crit=[])
    yield "b64 false", forger.token(b64=False, crit=["b64"])
    yield "b64 false, not critical", forger.token(b64=False)
    yield "zip", forger.token(zip="DEF")
    for typ in (None, "", "JWT", "jwt", "at+jwt ", "AT+JWT+", "application/at+jwt", "id_token+jwt", 1, [TYPE]):
        yield f"typ {typ!r}", forger.token(typ=typ)
    yield "cty", forger.token(cty="JWT")
    yield "a header over 512 bytes", forger.token(padding="x" * 512)
    yield "a header of 5 kB", forger.token(padding="x" * 5_000)
    for name, text in {
        "alg twice": f'{{"alg":"none","alg":"RS256","typ":"{TYPE}","kid":"{forger.key.kid}"}}',
        "alg twice, ours first": f'{{"alg":"RS256","alg":"none","typ":"{TYPE}","kid":"{forger.key.kid}"}}',
        "kid twice": f'{{"alg":"RS256","typ":"{TYPE}","kid":"x","kid":"{forger.key.kid}"}}',
        "not UTF-8": f'{{"alg":"RS256","typ":"{TYPE}","kid":"\udcff"}}',
        "a list": f'["RS256","{TYPE}","{forger.key.kid}"]',
        "a string": '"RS256"',
        "null": "null",
        "a number": "1",
        "deep": "[" * 400,
        "empty": "",
        "NaN": f'{{"alg":"RS256","typ":"{TYPE}","kid":NaN}}',
    }.items():
        raw = text.encode("utf-8", "surrogateescape")
        yield f"header: {name}", forger.signed(b64(raw), b64(forger.claims()))


def by_claims(forger: Forger) -> Iterator[tuple[str, str]]:
    """Claims that are not for us, not now, or not of their kind."""
    now, ours = int(clock.now().timestamp()), f"{forger.issuer}/graphql"
    wrong: dict[str, list[Any]] = {
        "iss": [None, "", forger.issuer + "/", forger.issuer.upper(), "https://attacker.example", [forger.issuer], 1],
        "aud": [
            None,
            "",
            forger.issuer,
            ours + "/",
            ours[:-1],
            ours + "x",
            "shop",
            [ours],
            [],
            ["x", ours],
            {"0": ours},
            1,
        ],
        "exp": [
            None,
            0,
            1,
            -1,
            now - 1,
            str(now + 900),
            f"{now + 900}.5",
            True,
            [now + 900],
            {"": 1},
            "",
            1e300,
            now + 900.5,
        ],
        "sub": [None, 1, ["shop"], "", "nobody", "urn:penchant:guest:g-9"],
        "client_id": [None, 1, ["shop"], "other"],
        "scope": [None, ["catalog:read"], 1, "catalog:read\tevents:write", " "],
        "jti": [None, 1, ["forged"]],
    }
    for name, values in wrong.items():
        for value in values:
            yield f"{name} {value!r}", forger.token(forger.claims(**{name: value}))
    for name, number in {"NaN": "NaN", "Infinity": "Infinity", "huge": "1" + "0" * 400, "exponent": "1e3"}.items():
        claims = json.dumps(forger.claims(exp="?")).replace('"?"', number)
        yield f"exp {name}", forger.signed(b64(forger.header()), b64(claims.encode()))
    for name, value in {"nbf": now + 600, "iat": now + 600}.items():
        yield f"{name} in ten minutes", forger.token(forger.claims(**{name: value}))
        yield f"{name} a text", forger.token(forger.claims(**{name: str(now)}))
    good = json.dumps(forger.claims())
    for name in ("exp", "scope", "aud", "sub"):
        first = json.dumps(forger.claims(**{name: {"exp": 1}.get(name, "other")}))
        member = f'"{name}": {json.dumps(forger.claims()[name])}'
        yield f"{name} twice", forger.signed(b64(forger.header()), b64(f"{first[:-1]}, {member}}}".encode()))
    for name, text in {
        "a list": f"[{good}]",
        "a text": json.dumps(good),
        "null": "null",
        "empty": "",
        "cut": good[:-1],
    }.items():
        yield f"claims: {name}", forger.signed(b64(forger.header()), b64(text.encode()))
    yield (
        "claims: an id token",
        forger.token(forger.claims(aud="shop", nonce="n", auth_time=now, scope=None), typ="JWT"),
    )


def by_form(forger: Forger) -> Iterator[tuple[str, str]]:
    """Another form than three parts of base64url without padding."""
    good = forger.token()
    while not {"-", "_"} & set(good.rpartition(".")[2]):
        good = forger.token(forger.claims(jti=str(time.monotonic_ns())))
    header, payload, signature = good.split(".")
    key = RSAKey.import_key(forger.key.as_dict(private=False) | {"use": "enc", "alg": "RSA-OAEP"})
    protected = {"alg": "RSA-OAEP", "enc": "A256GCM", "typ": TYPE, "kid": forger.key.kid}
    yield (
        "a JWE of five parts",
        jwe.encrypt_compact(protected, json.dumps(forger.claims()), key, ["RSA-OAEP", "A256GCM"]),
    )
    for at in range(3):
        parts = [header, payload, signature]
        yield f"part {at} empty", ".".join([*parts[:at], "", *parts[at + 1 :]])
        yield (
            f"part {at} with padding",
            ".".join([*parts[:at], parts[at] + "=" * (-len(parts[at]) % 4 or 4), *parts[at + 1 :]]),
        )
        yield f"part {at} with a blank", ".".join([*parts[:at], parts[at] + " x", *parts[at + 1 :]])
        yield (
            f"part {at} with a line break",
            ".".join([*parts[:at], parts[at][:4] + "%0A" + parts[at][4:], *parts[at + 1 :]]),
        )
    standard = signature.replace("-", "+").replace("_", "/")
    yield "the signature in standard base64", f"{header}.{payload}.{standard}"
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = letters[letters.index(signature[-1]) ^ 1]
    yield "the signature with other spare bits", f"{header}.{payload}.{signature[:-1]}{last}"
    yield "the signature cut", f"{header}.{payload}.{signature[:-4]}"
    yield "the signature longer", f"{header}.{payload}.{signature}AAAA"
    yield "the signature of zeros", f"{header}.{payload}.{b64(bytes(256))}"
    yield "four parts", f"{good}.{signature}"
    yield "two parts", f"{header}.{payload}"
    yield "points", "..."
    yield "one part", header
    yield "a JSON serialization", json.dumps({"protected": header, "payload": payload, "signature": signature})
    yield "letters beyond ASCII", f"{header}.{payload}ä.{signature}"
    yield "other digits", good.translate({ord("1"): "\u0661"})
    yield "an escaped NUL", f"{good}%00"
    yield "8 kB of it", f"{header}.{payload}.{'A' * 9_000}"
    yield "twice", f"{good},{good}"


FORGERIES = (by_algorithm, by_header, by_claims, by_form)
