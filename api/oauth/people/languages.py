"""The texts of the pages in eight languages, and which of them a reader gets."""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from markupsafe import Markup, escape

from engine.reasons.texts import LANGUAGES
from engine.scopes import SCOPES

LONGEST_HEADER: Final = 1000  # characters of Accept-Language that are read
MOST_TAGS: Final = 20
_FOLDER: Final = Path(__file__).parent / "texts"
_QUALITY: Final = re.compile(r"q=([01](?:\.[0-9]{0,3})?)", re.IGNORECASE)


class Language(NamedTuple):
    """A language and its texts."""

    tag: str
    texts: Mapping[str, Any]

    def say(self, name: str, **values: object) -> Markup:
        """A text with these values in it, safe in HTML."""
        return Markup(escape(self.texts[name])).format(**values)  # noqa: S704 # it is escaped

    def scope(self, scope: str) -> Markup:
        """What a scope allows, as a person reads it."""
        return escape(self.texts["scopes"].get(scope) or SCOPES.get(scope, scope))


def choose_language(ui_locales: Iterable[str] = (), accept_language: str | None = None) -> Language:
    """The first language of the request that we have, then the reader's best one, then English."""
    for tag in (*list(ui_locales)[:MOST_TAGS], *_accepted(accept_language or "")):
        if (found := tag.partition("-")[0].lower()) in LANGUAGES:
            return language(found)
    return language("en")


@cache
def language(tag: str) -> Language:
    """One of LANGUAGES."""
    return Language(tag, tomllib.loads((_FOLDER / f"{tag}.toml").read_text(encoding="utf-8")))


def _accepted(header: str) -> Iterator[str]:
    """The tags of Accept-Language, the best first (RFC 9110, section 12.5.4)."""
    found: list[tuple[float, str]] = []
    for part in header[:LONGEST_HEADER].split(",")[:MOST_TAGS]:
        tag, _, weight = part.strip().partition(";")
        quality = _QUALITY.fullmatch(weight.strip())
        if weight and not quality:
            continue
        found.append((float(quality[1]) if quality else 1.0, tag.strip()))
    return (tag for quality, tag in sorted(found, key=lambda one: -one[0]) if quality > 0)
