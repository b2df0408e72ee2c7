"""Reasons in words: complete in every language, with fallbacks, a shop's own texts, and titles that are only data."""

import tomllib
from pathlib import Path

import pytest

import engine.reasons.texts as texts
from engine.reasons.texts import LANGUAGES, LONGEST_TEXT, LONGEST_TITLE, SAYINGS, ReasonTexts, WrongReasonTexts
from ml.ranked import REASONS

OWN = ReasonTexts.own()
NAMES_CAUSE = {"SIMILAR_TO", "BOUGHT_TOGETHER", "SEQUENCE", "VIEWED"}


def with_texts(folder: Path, content: str) -> ReasonTexts:
    path = folder / "reasons.toml"
    path.write_text(content, encoding="utf-8")
    return ReasonTexts.with_file(path)


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_language_has_a_sentence_for_each_reason(language: str) -> None:
    path = Path(texts.__file__).parent / f"{language}.toml"
    assert list(tomllib.loads(path.read_text(encoding="utf-8"))) == [
        *REASONS[:2], "DUE_EVERY", *REASONS[2:], *SAYINGS,
    ]  # fmt: skip
    said = {code: OWN.text(code, language, "Tea", "Cup") for code in (*REASONS, *SAYINGS)}
    assert len(set(said.values())) == len(said)
    for code in SAYINGS:
        assert ("Tea" in said[code]) == code.startswith(("INTEREST", "STOP_ITEM", "STOP_CATEGORY")), said[code]
    for reason, text in said.items():
        assert (text.endswith(".") and text[0].isupper()) or text.startswith("Tea "), text
        named = reason in NAMES_CAUSE, reason not in NAMES_CAUSE
        assert reason in SAYINGS or ("Cup" in text, "Tea" in text) == named
        assert "{" not in text and len(text) < 80


def test_every_file_is_a_language() -> None:
    assert {path.stem for path in Path(texts.__file__).parent.glob("*.toml")} == set(LANGUAGES)


@pytest.mark.parametrize(
    ("language", "nearest"),
    [
        (None, "en"), ("de", "de"), ("de-AT", "de"), ("DE_at", "de"), ("de-Latn-AT-1996", "de"), ("pt-BR", "pt"),
        ("en-GB", "en"), ("fi", "en"), ("deu", "en"), ("", "en"), ("-", "en"), ("de,fr;q=0.9", "en"),
        ("x" * 100_000, "en"), ("../de", "en"),
    ],
)  # fmt: skip
def test_a_language_falls_back_to_a_wider_one_and_then_to_english(language: str | None, nearest: str) -> None:
    for reason in REASONS:
        assert OWN.text(reason, language, "Tea", "Cup") == OWN.text(reason, nearest, "Tea", "Cup")


def test_titles_are_inserted_as_they_are() -> None:
    for title in ("{cause}", "{item.__class__}", "{0}", "%s", "100 % {", "}"):
        assert OWN.text("SIMILAR_TO", "en", "Tea", title) == f"Similar to {title}."
        assert OWN.text("POPULAR", "en", title, "Cup") == f"Popular with other customers: {title}."


def test_titles_are_on_one_line_and_cut() -> None:
    assert OWN.text("SIMILAR_TO", "en", "", " Green\n\ttea ") == "Similar to Green tea."
    cut = OWN.text("SIMILAR_TO", "en", "", "word " * 10_000)
    assert cut.startswith("Similar to word word") and cut.endswith(" word….")
    assert len(cut) <= len("Similar to .") + LONGEST_TITLE
    assert OWN.text("SIMILAR_TO", "en", "", "x" * LONGEST_TITLE) == f"Similar to {'x' * LONGEST_TITLE}."


def test_a_shops_texts_are_over_ours_and_the_rest_falls_back(tmp_path: Path) -> None:
    shop = with_texts(
        tmp_path,
        """
        [fi]
        VIEWED = "Katsoit tuotetta {cause} {{:)}}"
        [de-AT]
        NEW = "Neu bei uns: {item}"
        [de]
        OTHER = "Auch schön: {item}"
        [en]
        OTHER = "See also {item}"
        """,
    )
    assert shop.text("VIEWED", "fi-FI", "Tea", "Cup") == "Katsoit tuotetta Cup {:)}"
    assert shop.text("OTHER", "fi", "Tea", "Cup") == shop.text("OTHER", None, "Tea", "Cup") == "See also Tea"
    assert shop.text("NEW", "de-AT", "Tee", "Cup") == "Neu bei uns: Tee"
    assert shop.text("NEW", "de-CH", "Tee", "Cup") == OWN.text("NEW", "de", "Tee", "Cup")
    assert shop.text("OTHER", "de-AT", "Tee", "Cup") == shop.text("OTHER", "de", "Tee", "Cup") == "Auch schön: Tee"
    assert shop.text("POPULAR", "fr", "thé", "Cup") == OWN.text("POPULAR", "fr", "thé", "Cup")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[de]\nPOPULAR = "{title}"', "[de] POPULAR: {title} cannot be used here, only {item}."),
        ('[de]\nPOPULAR = "{cause}"', "{cause} cannot be used here, only {item}."),
        ('[de]\nVIEWED = "{}"', "{} cannot be used here, only {item} and {cause}."),
        ('[de]\nVIEWED = "{item.__class__}"', "{item.__class__} cannot be used here"),
        ('[de]\nVIEWED = "{item!r}"', "cannot be used here"),
        ('[de]\nVIEWED = "{item:>1000000}"', "cannot be used here"),
        ('[de]\nVIEWED = "{cause"', "a brace stands alone"),
        ('[de]\nVIEWED = "cause}"', "a brace stands alone"),
        ('[de]\nPOPULER = "{item}"', "[de] POPULER: there is no such reason. The reasons are BOUGHT_BEFORE,"),
        ('POPULAR = "{item}"', "[POPULAR] is not a language"),
        ('["de AT"]\nNEW = "{item}"', "[de AT] is not a language: use a BCP 47 tag such as de or pt-BR."),
        ('de = "{item}"', "de is not a table of texts"),
        ("[de]\nNEW = 1", "a text has 1 to 200 characters, on one line"),
        ('[de]\nNEW = " "', "a text has 1 to 200 characters"),
        (f'[de]\nNEW = "{"x" * (LONGEST_TEXT + 1)}"', "a text has 1 to 200 characters"),
        ('[de]\nNEW = "a\\nb"', "on one line"),
        ("[de", "is not a TOML file"),
        ("#" * 200_001, "has more than 200000 bytes"),
        ("\n".join(f"[de-x{n}]" for n in range(51)), "has more than 50 languages"),
    ],
)
def test_a_wrong_file_is_refused_with_the_place_and_the_reason(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(WrongReasonTexts) as refused:
        with_texts(tmp_path, content)
    assert message in str(refused.value)
    assert "reasons.toml" in str(refused.value)


def test_a_file_that_is_not_there_or_not_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WrongReasonTexts, match="cannot be read: No such file or directory"):
        ReasonTexts.with_file(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes('[de]\nNEW = "schön: {item}"'.encode("latin-1"))
    with pytest.raises(WrongReasonTexts, match="is not a TOML file"):
        ReasonTexts.with_file(tmp_path / "latin.toml")


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_due_says_how_often_the_person_buys_it(language: str) -> None:
    said = OWN.text("DUE_AGAIN", language, "Tea", "Cup", 14)
    assert "Tea" in said and "14" in said and "{" not in said and len(said) < 80
    for every in (0, 1):
        assert OWN.text("DUE_AGAIN", language, "Tea", "Cup", every) == OWN.text("DUE_AGAIN", language, "Tea", "Cup")
    assert OWN.text("BOUGHT_BEFORE", language, "Tea", "Cup", 14) == OWN.text("BOUGHT_BEFORE", language, "Tea", "Cup")


def test_a_shops_text_for_due_items_is_said_unless_it_has_one_with_days(tmp_path: Path) -> None:
    shop = with_texts(tmp_path, '[en]\nDUE_AGAIN = "Time for {item}"\n[de]\nDUE_EVERY = "{item}: {days}"\n')
    assert shop.text("DUE_AGAIN", "en", "Tea", "Cup", 14) == "Time for Tea"
    assert shop.text("DUE_AGAIN", "de", "Tea", "Cup", 14) == "Tea: 14"
    with pytest.raises(WrongReasonTexts, match="days"):
        with_texts(tmp_path, '[en]\nDUE_AGAIN = "{days}"\n')
