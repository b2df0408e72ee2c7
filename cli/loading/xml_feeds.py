"""XML feeds such as those of Google Merchant: each `<item>` (RSS), `<entry>` (Atom) or other named element is a record.

An element is a key of its parent's record, by its prefix and name (`g:price`); elements of one name become a list, and
an attribute stands beside its element (`link@href`), or by itself if it is the record's own (`@id`). Expat parses; a
document type, and so every entity, is refused.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any, BinaryIO, Final
from xml.parsers import expat

from cli.loading.chunks import WrongFile
from cli.loading.columns import shown

_BLOCK: Final = 1 << 16  # bytes
_ITEMS: Final = frozenset({"item", "entry"})
_PREFIXES: Final = {"http://base.google.com/ns/1.0": "g", "http://base.google.com/cns/1.0": "c"}
_NO_PREFIX: Final = {"", "http://www.w3.org/2005/Atom", "http://purl.org/rss/1.0/"}
_DEEPEST: Final = 32  # elements
_MOST_NAMESPACES: Final = 100
_MOST_NAMES: Final = 1_000  # of elements outside of records, which an error chooses from
_LARGEST: Final = 1 << 24  # characters of an item
_BETWEEN: Final = "\n"  # of namespace and name, as expat gives them


def items_of(stream: BinaryIO, element: str | None = None) -> Iterator[dict[str, Any]]:
    """The items of the feed, or its elements of this name.

    Raises WrongFile for what has none of them, is damaged, too deep or too large.
    """
    feed = _Feed(_ITEMS if element is None else frozenset({element}))
    found = False
    try:
        while block := stream.read(_BLOCK):
            feed.read(block)
            found |= bool(feed.items)
            yield from feed.items
            feed.items.clear()
        feed.parser.Parse(b"", True)
    except expat.ExpatError as error:
        raise WrongFile(f"it is damaged XML: {error}") from None
    yield from feed.items
    if not found and not feed.items:
        raise WrongFile(_advice(element, feed.outside))


def _advice(element: str | None, outside: Counter[tuple[int, str]]) -> str:
    """What to do about a file without records; `outside` counts its elements by depth and name."""
    repeated = [(depth, -count, name) for (depth, name), count in outside.items() if count > 1]
    name = shown(min(repeated)[2]) if repeated else None
    if element is not None:
        return f"it is XML without a <{element}>" + (f"; did you mean <{name}>?" if name else "")
    advice = f'name the element that is a line above the sections of the recipe, as in element = "{name or "product"}"'
    return f"it is XML without an <item> or <entry>; {advice}"


class _Feed:
    """Builds the items while expat parses."""

    def __init__(self, names: frozenset[str]) -> None:
        self.items: list[dict[str, Any]] = []
        self.outside: Counter[tuple[int, str]] = Counter()
        self._names = names
        self.parser = expat.ParserCreate(namespace_separator=_BETWEEN)
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self.parser.StartDoctypeDeclHandler = _refuse_document_type
        self.parser.StartNamespaceDeclHandler = self._declare
        self._prefixes: dict[str, str] = dict(_PREFIXES)
        self._depth = 0
        self._open: list[tuple[str, dict[str, Any], list[str]]] = []  # name, children and text of each open element
        self._room = _LARGEST
        self._unread = 0  # bytes since the last element or text, which expat holds

    def read(self, block: bytes) -> None:
        """Parse the next part of the feed."""
        self._unread += len(block)
        if self._unread > _LARGEST:
            raise WrongFile(f"one of its tags is larger than {_LARGEST >> 20} MB; it is no feed")
        self.parser.Parse(block, False)

    def _declare(self, prefix: str | None, namespace: str) -> None:
        if len(self._prefixes) < _MOST_NAMESPACES:
            self._prefixes.setdefault(namespace, prefix or "")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._unread = 0
        self._depth += 1
        if self._depth > _DEEPEST:
            raise WrongFile(f"its elements are more than {_DEEPEST} deep; it is no feed")
        name = self._named(name)
        if not self._open:
            if name not in self._names:
                if len(self.outside) < _MOST_NAMES:
                    self.outside[self._depth, name] += 1
                return
            self._room = _LARGEST
        self._take(len(name))
        children: dict[str, Any] = {}
        record, lead = (self._open[-1][1], name) if self._open else (children, "")
        for key, value in attributes.items():
            self._take(len(key) + len(value))
            _add(record, f"{lead}@{self._named(key)}", value)
        self._open.append((name, children, []))

    def _text(self, text: str) -> None:
        self._unread = 0
        if self._open:
            self._take(len(text))
            self._open[-1][2].append(text)

    def _end(self, name: str) -> None:
        self._depth -= 1
        if not self._open:
            return
        name, children, texts = self._open.pop()
        if not self._open:
            self.items.append(children)
        else:
            _add(self._open[-1][1], name, children or "".join(texts).strip() or None)

    def _take(self, size: int) -> None:
        self._room -= size
        if self._room < 0:
            raise WrongFile(f"an item holds more than {_LARGEST >> 20} MB")

    def _named(self, name: str) -> str:
        namespace, _, local = name.rpartition(_BETWEEN)
        prefix = "" if namespace in _NO_PREFIX else self._prefixes.get(namespace, "")
        return f"{prefix}:{local}" if prefix else local


def _add(record: dict[str, Any], name: str, value: Any) -> None:
    if name not in record:
        record[name] = value
    elif isinstance(record[name], list):
        record[name].append(value)
    else:
        record[name] = [record[name], value]


def _refuse_document_type(*_: Any) -> None:
    raise WrongFile("it has a document type (<!DOCTYPE ...>), which can hide other files; remove that line")
