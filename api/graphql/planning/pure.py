"""Marks resolvers that plans may call directly, and more than once."""

from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def pure(resolver: F) -> F:
    """Mark a synchronous resolver that computes its value from the source, its arguments and `info.context` alone.

    A plan calls it without graphql-core's work per field. It may be called again for the same source: when a plan meets
    something unexpected, graphql-core completes the whole value from the start.
    """
    resolver.is_pure = True  # type: ignore[attr-defined]
    return resolver


def is_pure(resolver: Callable[..., Any]) -> bool:
    """Whether a resolver is marked as pure."""
    return getattr(resolver, "is_pure", False) is True
