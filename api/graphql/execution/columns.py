"""Lists that are kept as columns: the objects of their rows are made only when something needs them."""

from abc import abstractmethod
from collections.abc import Callable, Hashable, Sequence
from typing import Any, ClassVar, Protocol, TypeVar, overload

T = TypeVar("T")
Class = TypeVar("Class", bound=type)


class Columns(Sequence[T]):
    """A list of objects of a GraphQL type, kept as columns.

    A method named as a field of the type returns the field's value in every row: a list, or other Columns. It takes the
    arguments of the field. Fields without such a method are read from the rows.

    `kept` is where the JSON text of the whole list is kept, and the list's name there; None for one that is not kept.
    The fields in `changing` differ between lists of one name.
    """

    kept: "tuple[TextStore, Hashable] | None" = None
    changing: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def has_column(cls, name: str) -> bool:
        """Whether there is a column for the field with this Python name."""
        return any(name in vars(one) for one in cls.__mro__ if issubclass(one, Columns) and one not in _GENERAL)

    @abstractmethod
    def row(self, position: int) -> T:
        """Make the object of one row, for what reads rows."""

    @overload
    def __getitem__(self, position: int) -> T: ...
    @overload
    def __getitem__(self, position: slice) -> Sequence[T]: ...
    def __getitem__(self, position: int | slice) -> T | Sequence[T]:
        if isinstance(position, slice):
            return [self.row(one) for one in range(*position.indices(len(self)))]
        if not -len(self) <= position < len(self):
            raise IndexError(position)
        return self.row(position % len(self))


class TextStore(Protocol):
    """Keeps JSON texts of whole lists."""

    def find(self, key: Hashable) -> Any:
        """The `orjson.Fragment` of this key; None when it is not kept."""
        ...

    def keep(self, key: Hashable, value: Any, size: int) -> None:
        """Keep a fragment of so many bytes."""
        ...


class FragmentStore(Protocol):
    """Keeps JSON texts by shelf and version; each is an `orjson.Fragment`."""

    def find(self, shelf: Hashable, versions: Sequence[Hashable]) -> list[Any]:
        """The fragments with these versions; None for those that are not kept."""
        ...

    def keep(self, shelf: Hashable, version: Hashable, text: bytes) -> Any:
        """Keep a text; its fragment."""
        ...


class Versioned(Columns[T]):
    """Columns whose rows have versions.

    The plain and pure fields of two rows are the same when their versions are the same, and what their lists `share`.
    An object that is no row of a list may have an attribute `alone`: columns with itself as the one row.
    """

    fragments: FragmentStore
    shared: Hashable

    @abstractmethod
    def versions(self) -> Sequence[Hashable]:
        """The version of each row."""


_GENERAL = (Columns, Versioned)
_COLUMNS: dict[type, type[Columns[Any]]] = {}


def kept_as(columns: type[Columns[Any]]) -> Callable[[Class], Class]:
    """A decorator for the class of a GraphQL type, whose lists may be `columns`."""

    def register(row: Class) -> Class:
        _COLUMNS[row] = columns
        return row

    return register


def columns_of(row: type) -> type[Columns[Any]] | None:
    """The Columns that lists of this class may be; None when they are always lists."""
    return _COLUMNS.get(row)
