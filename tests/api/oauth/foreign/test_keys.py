"""Which keys of an issuer's set are used. A key that cannot be used does no harm to the others."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from joserfc.jwk import ECKey, OctKey, RSAKey

from api.oauth.foreign.keys import MOST_KEYS, UnreadableKeys, read_key_set
from tests.identity_provider import b64, new_key

Make = Callable[[], dict[str, Any]]
GOOD = new_key("good").as_dict(private=False)
OTHER = new_key("other").as_dict(private=False)
RS256 = ("RS256",)


def number(value: int) -> str:
    return b64(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def rsa_of(bits: int, e: str = "AQAB") -> dict[str, Any]:
    """A key of that size as an attacker writes it; nobody has its private half."""
    return {"kty": "RSA", "kid": "bad", "n": number((1 << (bits - 1)) + 1), "e": e}


@pytest.mark.parametrize(
    "jwk",
    [
        None,
        [],
        "RSA",
        {},
        {**GOOD, "kid": None},
        {**GOOD, "kid": ""},
        {**GOOD, "kid": "x" * 257},
        {**GOOD, "kid": ["good"]},
        {**GOOD, "use": "enc", "kid": "bad"},
        {**GOOD, "use": ["sig"], "kid": "bad"},
        {**GOOD, "key_ops": ["sign"], "kid": "bad"},
        {**GOOD, "key_ops": "verify", "kid": "bad"},
        {**GOOD, "alg": "RS512", "kid": "bad"},
        {**GOOD, "alg": "HS256", "kid": "bad"},
        {**GOOD, "alg": ["RS256"], "kid": "bad"},
        {**GOOD, "alg": {"a": 1}, "kid": "bad"},
        {**GOOD, "kty": "EC", "crv": "P-256", "kid": "bad"},
        {**GOOD, "kty": ["RSA"], "kid": "bad"},
        {**GOOD, "n": None, "kid": "bad"},
        {**GOOD, "n": "***", "kid": "bad"},
        {**GOOD, "n": ["AQAB"], "kid": "bad"},
        {**GOOD, "d": "AQAB", "kid": "bad"},
        {"kty": "oct", "kid": "bad", "k": "c2VjcmV0", "alg": "RS256"},
        {"kty": "oct", "kid": "bad", "alg": "HS256"},
        rsa_of(512),
        rsa_of(1024),
        rsa_of(16_384),
        {**GOOD, "n": number(1 << 2047), "kid": "bad"},
        {**GOOD, "e": "Ag", "kid": "bad"},
        {**GOOD, "e": "AQ", "kid": "bad"},
        {**GOOD, "e": number((1 << 1024) + 1), "kid": "bad"},
        {**GOOD, "e": "", "kid": "bad"},
    ],
)
def test_an_unusable_key_is_left_out_and_its_neighbour_is_used(jwk: object) -> None:
    found = read_key_set({"keys": [jwk, OTHER]}, RS256)
    assert list(found.usable) == ["other"]
    assert len(found.unusable) == 1
    with pytest.raises(UnreadableKeys):
        read_key_set({"keys": [jwk]}, RS256)


@pytest.mark.parametrize(
    ("jwk", "algorithm"),
    [
        ({"kty": "EC", "crv": "P-256", "kid": "bad", "x": "AQ", "y": "AQ"}, "ES256"),
        ({**ECKey.generate_key("P-384").as_dict(private=False), "kid": "bad"}, "ES256"),
        ({**ECKey.generate_key("P-256").as_dict(private=False), "kid": "bad", "x": "A" * 43}, "ES256"),
        ({**ECKey.generate_key("P-256").as_dict(private=True), "kid": "bad"}, "ES256"),
        ({"kty": "OKP", "crv": "Ed25519", "kid": "bad", "x": "AQ"}, "EdDSA"),
        ({"kty": "OKP", "crv": "X25519", "kid": "bad", "x": "A" * 43}, "EdDSA"),
        ({"kty": "OKP", "crv": "Ed25519", "kid": "bad"}, "EdDSA"),
        ({"kty": "OKP", "crv": ["Ed25519"], "kid": "bad", "x": "A" * 43}, "EdDSA"),
    ],
)
def test_points_that_are_not_keys_are_left_out(jwk: dict[str, Any], algorithm: str) -> None:
    found = read_key_set({"keys": [jwk, OTHER]}, ("RS256", algorithm))
    assert list(found.usable) == ["other"]


def test_two_keys_of_one_id_are_both_left_out_and_a_repeated_one_counts_once() -> None:
    twice = {**OTHER, "kid": "good"}
    third = new_key("third").as_dict(private=False)
    found = read_key_set({"keys": [GOOD, twice, third, third]}, RS256)
    assert list(found.usable) == ["third"]
    assert found.unusable == ("good: Several keys have this id.",)
    with pytest.raises(UnreadableKeys):
        read_key_set({"keys": [GOOD, twice]}, RS256)


@pytest.mark.parametrize(
    "document", [None, [], "keys", 1, {}, {"keys": None}, {"keys": {}}, {"keys": "x"}, {"keys": []}, {"keys": [[[]]]}]
)
def test_what_is_not_a_key_set_is_refused(document: object) -> None:
    with pytest.raises(UnreadableKeys):
        read_key_set(document, RS256)


def test_a_set_has_a_bounded_number_of_keys() -> None:
    assert len(read_key_set({"keys": [GOOD] * MOST_KEYS}, RS256).usable) == 1
    for jwk, count in ((GOOD, MOST_KEYS + 1), ({}, 10_000)):
        with pytest.raises(UnreadableKeys, match="more than 100"):
            read_key_set({"keys": [jwk] * count}, RS256)


def test_private_members_of_a_right_key_do_not_reach_it() -> None:
    private = RSAKey.generate_key(2048, {"kid": "bad"}).as_dict(private=True)
    secret = OctKey.generate_key(256, {"kid": "secret"}).as_dict(private=True)
    found = read_key_set({"keys": [private, secret, OTHER]}, RS256)
    assert not found.usable["other"].key.is_private
    assert json.dumps(private["d"]) not in str(found.unusable)


def test_a_name_in_a_reason_is_short_and_has_no_control_characters() -> None:
    found = read_key_set({"keys": [{**GOOD, "use": "enc", "kid": "\u001b[31m" + "x" * 200}, OTHER]}, RS256)
    (reason,) = found.unusable
    assert reason.isprintable() and len(reason) < 200
