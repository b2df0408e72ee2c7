"""A signed or sealed payload can be opened; any other text is refused."""

from base64 import urlsafe_b64decode

import pytest

from core.errors import InvalidInput
from engine.signing import Signer

SIGNER = Signer("x" * 32)


def test_a_signed_payload_can_be_opened() -> None:
    for payload in (b"", b"a", bytes(range(256))):
        assert SIGNER.open("cursor", SIGNER.sign("cursor", payload)) == payload


def test_a_text_signed_for_another_purpose_is_refused() -> None:
    with pytest.raises(InvalidInput):
        SIGNER.open("impression", SIGNER.sign("cursor", b"1"))


def test_a_text_signed_with_another_secret_is_refused() -> None:
    with pytest.raises(InvalidInput):
        SIGNER.open("cursor", Signer("y" * 32).sign("cursor", b"1"))


def test_a_changed_character_anywhere_is_refused() -> None:
    signed = SIGNER.sign("cursor", b"17")
    for position, old in enumerate(signed):
        changed = signed[:position] + ("A" if old != "A" else "B") + signed[position + 1 :]
        with pytest.raises(InvalidInput):
            SIGNER.open("cursor", changed)


@pytest.mark.parametrize("text", ["", "a", "ä", "====", "\x00", "A" * 10_000, "not base64 !"])
def test_a_text_that_was_never_signed_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        SIGNER.open("cursor", text)


def test_another_base64_text_of_the_same_bytes_is_refused() -> None:
    signed = SIGNER.sign("cursor", b"17")
    for spelling in (signed + "=", signed[:5] + "\n" + signed[5:], signed + "!"):
        with pytest.raises(InvalidInput):
            SIGNER.open("cursor", spelling)


def test_a_sealed_payload_is_hidden_and_can_be_opened() -> None:
    for payload in (b"", b"a", bytes(range(256)), b"evil user alice" * 10):
        sealed = SIGNER.seal("cursor", payload)
        assert SIGNER.unseal("cursor", sealed) == payload and sealed == SIGNER.seal("cursor", payload)
        assert len(payload) < 2 or payload not in urlsafe_b64decode(sealed + "=" * (-len(sealed) % 4))


def test_a_text_sealed_otherwise_or_changed_is_refused() -> None:
    sealed = SIGNER.seal("cursor", b"17")
    others = [Signer("y" * 32).seal("cursor", b"17"), SIGNER.seal("history", b"17"), SIGNER.sign("cursor", b"17")]
    changed = [
        sealed[:position] + ("A" if old != "A" else "B") + sealed[position + 1 :] for position, old in enumerate(sealed)
    ]
    spellings = [sealed + "=", sealed[:5] + "\n" + sealed[5:], sealed + "!"]
    for text in [*others, *changed, *spellings, *(sealed[:end] for end in range(len(sealed))), "ä", "A" * 10_000]:
        with pytest.raises(InvalidInput):
            SIGNER.unseal("cursor", text)


def test_while_the_secret_is_changed_texts_of_both_secrets_are_opened_and_new_ones_are_of_the_first() -> None:
    old, new, both = Signer("x" * 32), Signer("y" * 32), Signer("y" * 32, "x" * 32)
    assert both.open("cursor", old.sign("cursor", b"17")) == both.open("cursor", new.sign("cursor", b"17")) == b"17"
    assert both.unseal("cursor", old.seal("cursor", b"17")) == both.unseal("cursor", new.seal("cursor", b"17")) == b"17"
    assert new.open("cursor", both.sign("cursor", b"17")) == new.unseal("cursor", both.seal("cursor", b"17")) == b"17"
    for text in (Signer("z" * 32).sign("cursor", b"17"), old.sign("impression", b"17"), ""):
        with pytest.raises(InvalidInput):
            both.open("cursor", text)
