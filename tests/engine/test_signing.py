"""A signed payload can be opened; any other text is refused."""

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
