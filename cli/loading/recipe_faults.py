"""What is wrong with a recipe, as one sentence: the line, the key, and what is allowed."""

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any, Final

_CLOSE: Final = 0.75  # how alike two names must be, of 1
_HEADER: Final = re.compile(r"\s*\[+\s*([^\]]+?)\s*\]+")
_KEY: Final = re.compile(r"""\s*("[^"]*"|'[^']*'|[\w.-]+)\s*=""")
_TOML: Final = re.compile(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", re.DOTALL)
_WORDS: Final = {
    "timezone_aware": "must name its offset, as in 2011-12-10T00:00:00Z",
    "string_type": "must be a text",
    "string_too_short": "must not be empty",
    "tuple_type": 'must be a list, as in ["a", "b"]',
    "dict_type": 'must be a table, as in { status = "paid" }',
    "model_type": 'must be a table, as in { column = "Name" }, or the name of a column',
}
_KINDS: Final = {"bool": "must be true or false", "datetime": "must be a time, as in 2011-12-10T00:00:00Z"}


def recipe_fault(error: Any, text: str, known: Iterable[str]) -> str:
    """One fault that pydantic found in the TOML `text`; `known` are the keys that may be where an unknown one is."""
    path = [str(step) for step in error["loc"] if step not in ("cells", "[key]")]
    line = line_of(text, path)
    where = f"line {line}: " if line else ""
    if error["type"] == "extra_forbidden":
        return f"{where}the key {'.'.join(path)!r} is not known; {_advice(path[-1], sorted(known))}"
    return f"{where}{'.'.join(path)}: {_words(error)}" if path else _words(error)


def toml_fault(error: ValueError, text: str) -> str:
    """A fault that the reader of TOML found."""
    found = _TOML.fullmatch(str(error))
    if found is None:
        return f"it is not TOML: {error}"
    line = found[2] or str(max(1, len(text.splitlines())))
    return f"line {line}: it is not TOML: {found[1]}"


def line_of(text: str, path: Sequence[str]) -> int | None:
    """The number of the line that has the key of this path, or the nearest one above it."""
    table: tuple[str, ...] = ()
    found = None
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            table = _steps(header[1])
            at = table
        elif key := _KEY.match(line):
            at = (*table, *_steps(key[1])) if not key[1].startswith(("'", '"')) else (*table, key[1][1:-1])
        else:
            continue
        if at == tuple(path[: len(at)]) and len(at) >= 1:
            found = number
            if len(at) == len(path):
                break
    return found


def _steps(name: str) -> tuple[str, ...]:
    return tuple(step.strip().strip("\"'") for step in name.split("."))


def _words(error: Any) -> str:
    reason = error.get("ctx", {}).get("error")
    if reason is not None:
        return str(reason)
    if error["type"] == "literal_error":
        return f"must be {error['ctx']['expected']}"
    kind = str(error["type"]).partition("_")[0]
    return _WORDS.get(error["type"]) or _KINDS.get(kind) or str(error["msg"])


def _advice(key: str, known: Sequence[str]) -> str:
    close = get_close_matches(key.lower(), known, 1, _CLOSE)
    return f"did you mean {close[0]!r}?" if close else f"known are: {', '.join(known)}"
