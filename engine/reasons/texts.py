"""The reasons in words: our own texts in eight languages, and a shop's texts over them."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from string import Formatter
from typing import Any, Final, Self

from core.errors import PenchantError
from ml.ranked import REASONS

LANGUAGES: Final = ("en", "de", "fr", "es", "it", "nl", "pt", "pl")
LONGEST_TITLE: Final = 100  # characters of a title inside a text
LONGEST_TEXT: Final = 200  # characters of a text, without its titles
LARGEST_FILE: Final = 200_000  # bytes of a shop's file
MOST_LANGUAGES: Final = 50  # of a shop's file
_WITH_CAUSE: Final = frozenset({"SIMILAR_TO", "BOUGHT_TOGETHER", "SEQUENCE", "VIEWED"})  # {cause} is another item
_OFTEN: Final = "DUE_EVERY"  # the text of DUE_AGAIN where the person's own {days} between two purchases are known
_DUE: Final = "DUE_AGAIN"
SAYINGS: Final = (  # what a person is told about their interests and about an item, beside its reason
    "INTEREST_BOUGHT", "INTEREST_VIEWED", "BY_SHOP", "NOT_LISTED", "HIDDEN", "STOP_ITEM", "STOP_CATEGORY", "STOP_PAUSE",
)  # fmt: skip
_TEXTS: Final = (*REASONS, _OFTEN, *SAYINGS)
_TAG: Final = re.compile(r"[a-z]{2,3}(?:-[a-z0-9]{1,8}){0,3}", re.ASCII)  # BCP 47, the part that shops use
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_FOLDER: Final = Path(__file__).parent

Pieces = tuple[tuple[str, str], ...]  # each a literal text and the placeholder after it, the empty string for none


class WrongReasonTexts(PenchantError):
    """The file of reason texts cannot be used."""


class ReasonTexts:
    """Every reason in every language. `with_file` puts a shop's own texts over ours."""

    def __init__(self, languages: Mapping[str, Mapping[str, Pieces]]) -> None:
        self._languages = languages

    @classmethod
    def own(cls) -> Self:
        """The texts that come with Penchant."""
        return cls({language: _read_own(language) for language in LANGUAGES})

    @classmethod
    def with_file(cls, path: Path) -> Self:
        """Our texts, and over them those of a TOML file with a table of reasons for each language.

        A reason that the file leaves out is taken from the next language of the fallback: `de-AT`, `de`, English.
        Raises WrongReasonTexts.
        """
        return cls.own().with_texts(_read_file(path), str(path))

    def with_texts(self, tables: Mapping[str, object], place: str) -> Self:
        """These texts, and over them those of a table of reasons for each language; errors name the place.

        Raises WrongReasonTexts.
        """
        shops = read_texts(tables, place)
        whole = dict(self._languages)
        for language in sorted(shops, key=lambda tag: (tag != "en", len(tag))):  # those that others fall back to first
            whole[language] = {**_find(whole, language), **_with_often(shops[language])}
        return type(self)(whole)

    def text(self, reason: str, language: str | None, item: str, cause: str, every: int = 0) -> str:
        """The sentence for a reason code, or for one of SAYINGS.

        It is in the nearest language to a BCP 47 tag: `de-AT`, else `de`, else English.

        `item` and `cause` are titles. They are inserted as they are, without line breaks and cut to 100 characters.
        `every` are the days in which the person usually buys the item again; they are said from two days on.
        """
        said = ""
        reason = _OFTEN if reason == _DUE and every > 1 else reason
        for text, name in _find(self._languages, language or "en")[reason]:
            said += text
            if name:
                said += str(every) if name == "days" else _shortened(item if name == "item" else cause)
        return said


def read_texts(tables: Mapping[str, object], place: str) -> dict[str, Mapping[str, Pieces]]:
    """The texts in a table of reasons for each language, by BCP 47 tag. Raises WrongReasonTexts, naming the place."""
    if len(tables) > MOST_LANGUAGES:
        raise WrongReasonTexts(f"{place} has more than {MOST_LANGUAGES} languages.")
    return {_tag(name, place): _pieces_of(table, name, place) for name, table in tables.items()}


def _with_often(texts: Mapping[str, Pieces]) -> Mapping[str, Pieces]:
    """A shop's texts: its own DUE_AGAIN is said in place of our DUE_EVERY."""
    return {_OFTEN: texts[_DUE], **texts} if _DUE in texts else texts


def _find(languages: Mapping[str, Mapping[str, Pieces]], tag: str) -> Mapping[str, Pieces]:
    """The texts for a BCP 47 tag, by the lookup of RFC 4647, section 3.4; English for any other text."""
    if tag in languages:
        return languages[tag]
    wanted = tag[:35].lower().replace("_", "-")
    while wanted:
        if wanted in languages:
            return languages[wanted]
        wanted = wanted.rpartition("-")[0]
    return languages["en"]


def _shortened(title: str) -> str:
    if len(title) <= LONGEST_TITLE and title.isprintable():
        return title
    line = " ".join(title[: 10 * LONGEST_TITLE].split())
    return line if len(line) <= LONGEST_TITLE else f"{line[: LONGEST_TITLE - 1].rstrip()}…"


def _read_own(language: str) -> dict[str, Pieces]:
    path = _FOLDER / f"{language}.toml"
    return _pieces_of(_read_file(path), language, str(path))


def _read_file(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise WrongReasonTexts(f"{path} has more than {LARGEST_FILE} bytes.")
        tables = tomllib.loads(content.decode())
    except OSError as error:
        raise WrongReasonTexts(f"{path} cannot be read: {error.strerror}.") from None
    except ValueError as error:  # not UTF-8, or not TOML
        raise WrongReasonTexts(f"{path} is not a TOML file: {error}") from None
    return tables


def _tag(name: str, place: str) -> str:
    tag = name.lower()
    if not _TAG.fullmatch(tag):
        raise WrongReasonTexts(f"{place}: [{name}] is not a language: use a BCP 47 tag such as de or pt-BR.")
    return tag


def _pieces_of(table: object, language: str, place: str) -> dict[str, Pieces]:
    if not isinstance(table, Mapping):
        raise WrongReasonTexts(
            f'{place}: {language} is not a table of texts. Write [{language}], then POPULAR = "...".'
        )
    return {reason: _pieces(reason, text, f"{place}, [{language}] {reason}") for reason, text in table.items()}


def _pieces(reason: str, text: object, place: str) -> Pieces:
    """A text cut at its placeholders. Only plain names may be in braces: nothing of a title is ever evaluated."""
    if reason not in _TEXTS:
        raise WrongReasonTexts(f"{place}: there is no such reason. The reasons are {', '.join(_TEXTS)}.")
    if not isinstance(text, str) or not text.strip() or len(text) > LONGEST_TEXT or _CONTROL.search(text):
        raise WrongReasonTexts(f"{place}: a text has 1 to {LONGEST_TEXT} characters, on one line.")
    allowed = ("item", "cause") if reason in _WITH_CAUSE else ("item", "days") if reason == _OFTEN else ("item",)
    names = " and ".join(f"{{{name}}}" for name in allowed)
    try:
        parsed = list(Formatter().parse(text))
    except ValueError:
        raise WrongReasonTexts(f"{place}: a brace stands alone. A text may use {names}.") from None
    for _, name, format, conversion in parsed:
        if name is not None and (name not in allowed or format or conversion):
            raise WrongReasonTexts(f"{place}: {{{name}}} cannot be used here, only {names}.")
    return tuple((literal, name or "") for literal, name, _, _ in parsed)
