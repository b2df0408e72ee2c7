"""The words of searches, in the scripts of many languages."""

import pytest

from engine.rules.queries import words_in


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("café", "cafe"), ("Crème BRÛLÉE!", "brulee creme"), ("STRASSE", "straße"), ("Ёлка", "елка"), ("τσάι", "ΤΣΑΙ"),
        ("İstanbul", "istanbul"), ("ﾊﾟﾝ", "パン"), ("चाय", "चाय "), ("עִבְרִית", "עברית"),
        ("1\N{COMBINING ENCLOSING KEYCAP}", "1"),
    ],
)  # fmt: skip
def test_case_accents_and_forms_of_a_letter_do_not_count(text: str, same: str) -> None:
    assert words_in(text) == words_in(same) != frozenset()


@pytest.mark.parametrize(("one", "other"), [("चाय", "चोय"), ("パン", "バン"), ("ข้าว", "ขาว"), ("tea", "teapot")])
def test_marks_that_make_another_letter_do_count(one: str, other: str) -> None:
    assert words_in(one) != words_in(other)


def test_words_end_at_spaces_and_signs_and_not_at_marks() -> None:
    assert words_in("green-tea, 2 x") == {"green", "tea", "2", "x"}
    assert words_in("मसाला चाय") == {"मसाला", "चाय"}
    assert len(words_in("กาแฟร้อน")) == 1
    assert words_in("!\N{COMBINING ACUTE ACCENT} \N{DIAERESIS}") == frozenset()
