"""The form parser accepts well-formed forms and refuses all others."""

from urllib.parse import urlencode

import pytest
from authlib.oauth2.rfc6749.errors import InvalidRequestError
from hypothesis import given
from hypothesis import strategies as st

from api.oauth.form import parse_form

TEXT = st.text(st.characters(blacklist_categories=("Cc", "Cs")), min_size=1, max_size=30)


@given(st.dictionaries(TEXT, TEXT, max_size=20))
def test_an_encoded_form_is_read_back(form: dict[str, str]) -> None:
    assert parse_form(urlencode(form).encode()) == form


@given(st.binary(max_size=200))
def test_any_bytes_are_parsed_or_refused(body: bytes) -> None:
    try:
        form = parse_form(body)
    except InvalidRequestError:
        return
    assert all(form.values())
    assert parse_form(urlencode(form).encode()) == form


def test_a_parameter_without_a_value_counts_as_left_out() -> None:
    assert parse_form(b"a=&b&c=1&&") == {"c": "1"}


def test_control_characters_are_kept_in_a_scope_for_which_they_are_another_error() -> None:
    assert parse_form(b"scope=%00%0A") == {"scope": "\x00\n"}
    for body in (b"scope=%ff", b"scope=%", b"scope=a&scope=b", b"scope%00=a"):
        with pytest.raises(InvalidRequestError):
            parse_form(body)


@pytest.mark.parametrize("body", [b"a=1&a=2", b"a&a", b"a=1&%61=2", b"a=%", b"a=%1", b"a=%C3", b"%00=1", b"a=1%0A"])
def test_an_ambiguous_or_malformed_form_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequestError):
        parse_form(body)
