"""Properties that are computed once per object, for objects that are made for each request or event."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

Value = TypeVar("Value")


class CachedProperty(Generic[Value]):
    """A property that is computed once; `functools.cached_property` costs more, because it takes a lock each time.

    The class must not have slots.
    """

    def __init__(self, make: Callable[[Any], Value]) -> None:
        self._make, self._name = make, make.__name__
        self.__doc__ = make.__doc__

    def __get__(self, instance: Any, owner: type | None = None) -> Value:
        value = self._make(instance)
        object.__setattr__(instance, self._name, value)  # it also sets what is frozen, and makes no dict
        return value
