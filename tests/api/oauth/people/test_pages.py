"""The pages: every language says everything, values are escaped, colours have contrast, nothing else is loaded."""

import hashlib
import re
from base64 import b64encode
from string import Formatter

import pytest

from api.oauth.people.languages import language
from api.oauth.people.pages import Asking, Pages
from api.oauth.people.style import STYLE
from engine.reasons.texts import LANGUAGES
from engine.scopes import PEOPLE, PROTOCOL

EVIL = "<b>\"'&{0}{shop}"
ASKING = Asking("token", "sealed", EVIL, "https://app.example/back")
SCOPES = [*PEOPLE, *PROTOCOL]


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


def every_page(tag: str) -> list[str]:
    """The HTML of every page in a language, of a shop whose texts are dangerous."""
    pages = Pages(EVIL, "/base", language(tag))
    wrong = pages.language.say("too_many_attempts", minutes=3)
    answers = [
        pages.sign_in(ASKING, EVIL), pages.sign_in(ASKING, missing=["login", "password"], status=422),
        pages.sign_in(ASKING, EVIL, alert=wrong, status=429), pages.signed_in(Asking("token"), EVIL),
        pages.consent(ASKING, EVIL, [*SCOPES, EVIL], "/login?request=x"), pages.sign_out(ASKING, EVIL),
        pages.signed_out(), *[pages.failed(reason, 400) for reason in ("unknown_client", "expired", "unavailable")],
    ]  # fmt: skip
    return [bytes(answer.body).decode() for answer in answers]


@pytest.mark.parametrize("tag", LANGUAGES)
def test_every_language_says_everything(tag: str) -> None:
    english, texts = language("en").texts, language(tag).texts
    assert texts.keys() == english.keys() and texts["scopes"].keys() == english["scopes"].keys() == set(SCOPES)
    for name, text in english.items():
        if name != "scopes":
            assert texts[name].strip() == texts[name] != "" and placeholders(texts[name]) == placeholders(text), name
            assert tag == "en" or texts[name] != text or name == "password_label", name


@pytest.mark.parametrize("tag", LANGUAGES)
def test_pages_are_whole_and_escaped(tag: str) -> None:
    for html in every_page(tag):
        assert html.startswith(f'<!doctype html>\n<html lang="{tag}">') and html.endswith("</html>\n")
        assert "<b>" not in html
        assert not re.search(r"\{\w+\}", html.replace("{0}{shop}", "").partition("</style>")[2])
        assert not re.search(r"<script|\bon\w+=|https?://|src=|<link|@import|url\(", html)
        labels, inputs = set(re.findall(r'<label for="(\w+)"', html)), set(re.findall(r'<input id="(\w+)"', html))
        assert labels == inputs
        ids = re.findall(r' id="([\w-]+)"', html)
        assert len(ids) == len(set(ids)) and set(re.findall(r'aria-describedby="([\w-]+)"', html)) <= set(ids)
        assert html.count("<h1>") == 1 and html.count("autofocus") <= 1


def test_the_policy_allows_the_style_and_where_the_form_leads() -> None:
    pages = Pages("Shop", "", language("en"))
    digest = b64encode(hashlib.sha256(str(STYLE).encode()).digest()).decode()
    for uri, source in (
        ("https://app.example/back", "'self' https:"), ("http://127.0.0.1:1234/", "'self' http:"),
        ("org.example.app:/back", "'self' org.example.app:"), (None, "'self'"),
    ):  # fmt: skip
        answer = pages.sign_in(Asking("t", "r", "App", uri))
        assert f"<style>{STYLE}</style>" in bytes(answer.body).decode()
        assert answer.headers["content-security-policy"] == (
            f"default-src 'none'; style-src 'sha256-{digest}'; form-action {source}; frame-ancestors 'none';"
            " base-uri 'none'"
        )


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    full = "".join(digit * 2 for digit in colour) if len(colour) == 3 else colour
    parts = [int(full[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours (WCAG 2.2)."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_colours_have_contrast_in_light_and_dark() -> None:
    light, dark = (dict(re.findall(r"--([\w-]+): #(\w+)", part)) for part in str(STYLE).split("@media", 2)[:2])
    assert light.keys() == dark.keys()
    for colours in (light, dark):
        for text, ground in (("text", "card"), ("quiet", "card"), ("main", "card"), ("on-main", "main"),
                             ("wrong", "card"), ("text", "wrong-page")):  # fmt: skip
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
        assert contrast(colours["line"], colours["card"]) >= 3
