"""Who may read or do what: classes on fields, checked before the resolver, printed in the schema as `@requires`."""

from functools import cache
from typing import Any, ClassVar

import strawberry
from strawberry.permission import BasePermission
from strawberry.schema_directive import Location

from api.graphql.context import Info
from core.errors import Forbidden
from engine.viewer import Viewer


@strawberry.schema_directive(
    locations=[Location.FIELD_DEFINITION],
    description="The access token needs all these scopes; with `orOneself`, a person's own token needs none of them.",
)
class Requires:
    """What a field asks of the token, for readers of the schema."""

    scopes: list[str]
    or_oneself: bool | None = strawberry.UNSET


class ScopePermission(BasePermission):
    """Opens a field to tokens that carry every scope in `scopes`."""

    scopes: ClassVar[tuple[str, ...]] = ()

    def has_permission(self, source: Any, info: Info, **kwargs: Any) -> bool:
        """Whether the viewer of this request may have the field."""
        return info.context.viewer.scopes.issuperset(self.scopes)

    def on_unauthorized(self) -> None:
        """Raise Forbidden, naming the scopes."""
        raise Forbidden(f"This needs the scope {' '.join(self.scopes)}.")


class OneselfPermission(ScopePermission):
    """Opens a private field of a person to that person's own token as well; the source has a `person`."""

    def has_permission(self, source: Any, info: Info, **kwargs: Any) -> bool:
        """Whether the viewer has the scopes, or is the person the field belongs to."""
        viewer = info.context.viewer
        return viewer.scopes.issuperset(self.scopes) or is_oneself(viewer, source)


def is_oneself(viewer: Viewer, source: Any) -> bool:
    """Whether the token is the token of the person `source.person`."""
    return viewer.person is not None and viewer.person == getattr(source, "person", None)


@cache
def requires(*scopes: str) -> type[BasePermission]:
    """The permission class that demands every one of `scopes`."""
    return _permission(ScopePermission, scopes, or_oneself=False)


@cache
def requires_or_oneself(*scopes: str) -> type[BasePermission]:
    """As `requires`, but a person's own token needs no scope; the field's source must have `person: Person`."""
    return _permission(OneselfPermission, scopes, or_oneself=True)


def _permission(parent: type[ScopePermission], scopes: tuple[str, ...], *, or_oneself: bool) -> type[BasePermission]:
    name = parent.__name__ + "".join(part.capitalize() for scope in scopes for part in scope.split(":"))
    directive = Requires(scopes=list(scopes), or_oneself=or_oneself or strawberry.UNSET)
    return type(name, (parent,), {"scopes": scopes, "_schema_directive": directive})
