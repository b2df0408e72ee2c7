"""Coroutines that are given others: they end together, also when a task is cancelled before it began."""

from collections.abc import Coroutine, Generator
from inspect import CORO_CREATED, getcoroutinestate
from types import CoroutineType
from typing import Any, TypeVar

T = TypeVar("T")


class Owning(Coroutine[Any, Any, T]):
    """A coroutine that a task may cancel before its first step: then the coroutines that it was given are closed.

    Else Python would warn that nobody awaited them.
    """

    __slots__ = ("coroutine",)

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self.coroutine = coroutine

    def __await__(self) -> Generator[Any, Any, T]:
        return self.coroutine.__await__()

    def send(self, value: Any) -> Any:
        """As of a coroutine."""
        return self.coroutine.send(value)

    def throw(self, *error: Any) -> Any:
        """As of a coroutine; if it has not begun, what it was given is closed."""
        _close_given(self.coroutine)
        return self.coroutine.throw(*error)

    def close(self) -> None:
        """As of a coroutine; if it has not begun, what it was given is closed."""
        _close(self.coroutine)


def _close(value: Any) -> None:
    """Close a coroutine, or all of some coroutines, and what they were given."""
    if isinstance(value, Owning):
        value.close()
    elif isinstance(value, CoroutineType):
        _close_given(value)
        value.close()
    elif isinstance(value, list | tuple):
        for each in value:
            _close(each)
    elif isinstance(value, dict):
        _close(list(value.values()))


def _close_given(coroutine: Any) -> None:
    if getcoroutinestate(coroutine) == CORO_CREATED:
        _close(list(coroutine.cr_frame.f_locals.values()))
