"""The environment variables that are settings, and what was probably meant by one that is not."""

import os
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Final

from pydantic_settings import BaseSettings

from core import settings
from core.secret_files import PREFIX, is_secret

OTHERS: Final = frozenset(
    {
        "PENCHANT_CLIENT_SECRET",  # of `penchant token`
        "PENCHANT_TEST_STACK",  # of the tests
        "PENCHANT_VERSION",  # of docker-compose.yml
    }
)


def known_names() -> frozenset[str]:
    """Every variable that Penchant reads."""
    return OTHERS | frozenset(_names())


def unknown_names(environment: Iterable[str] | None = None) -> dict[str, str | None]:
    """The variables of the environment that look like settings and are none, each with the nearest known name."""
    known = known_names()
    asked = sorted(name for name in environment or os.environ if name.upper().startswith(PREFIX))
    return {name: _nearest(name.upper(), known) for name in asked if name.upper() not in known}


def warning_of(name: str, nearest: str | None) -> str:
    """A sentence about an unknown name."""
    return f"{name} is not a setting{f'; did you mean {nearest}?' if nearest else ' and is ignored.'}"


def _names() -> Iterator[str]:
    for concern in vars(settings).values():
        if isinstance(concern, type) and issubclass(concern, BaseSettings):
            for name, field in concern.model_fields.items():
                yield PREFIX + name.upper()
                if is_secret(field):
                    yield f"{PREFIX}{name.upper()}_FILE"


def _nearest(name: str, known: frozenset[str]) -> str | None:
    if (plain := name.removesuffix("_FILE")) in known:
        return plain  # only secrets may be in files
    rests = {each.removeprefix(PREFIX): each for each in sorted(known)}
    found = get_close_matches(name.removeprefix(PREFIX), rests, 1)
    return rests[found[0]] if found else None
