"""Permissions: classes on fields, checked before the resolver, printed in the schema as `@requires`."""

from collections.abc import Sequence
from functools import cache
from typing import Any, ClassVar

import strawberry
from graphql import GraphQLField
from strawberry.permission import BasePermission
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.schema_directive import Location

from api.graphql.context import Info
from core.errors import Forbidden
from engine.viewer import Viewer


@strawberry.schema_directive(
    locations=[Location.FIELD_DEFINITION],
    description="The access token needs all of these scopes. With `orOneself`, the token of the person the field"
    " is about needs none of them.",
)
class Requires:
    """The scopes of a field, for readers of the schema."""

    scopes: list[str]
    or_oneself: bool | None = strawberry.UNSET


class ScopePermission(BasePermission):
    """Allows tokens that have every scope in `scopes`."""

    scopes: ClassVar[tuple[str, ...]] = ()
    required: ClassVar[bool] = True  # whether no token may read the field without the scopes

    @classmethod
    def allows(cls, viewer: Viewer, source: Any) -> bool:
        """Whether the viewer may read the field of `source`, as far as this is known without its arguments."""
        return viewer.scopes.issuperset(cls.scopes)

    def has_permission(self, source: Any, info: Info, **kwargs: Any) -> bool:
        """Whether the viewer may read the field."""
        return self.allows(info.context.viewer, source)

    def on_unauthorized(self) -> None:
        """Raise Forbidden, with the scopes in its message."""
        raise Forbidden(f"This needs the scope {' '.join(self.scopes)}.")


class OneselfPermission(ScopePermission):
    """Also allows the token of the person the field is about; the source must have `person: Person`."""

    required = False

    @classmethod
    def allows(cls, viewer: Viewer, source: Any) -> bool:
        """Whether the viewer has the scopes, or is the person the field is about."""
        return viewer.scopes.issuperset(cls.scopes) or is_oneself(viewer, source)


def permissions_of(field: GraphQLField) -> Sequence[type[ScopePermission]]:
    """The permission classes of a field of the schema."""
    declared = field.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
    return getattr(declared, "permission_classes", ())


def check_permissions(viewer: Viewer, field: GraphQLField, source: Any) -> None:
    """Raise Forbidden when it is known without the field's arguments that the viewer may not read it."""
    for permission in permissions_of(field):
        if not permission.allows(viewer, source):
            permission().on_unauthorized()


def required_scopes(field: GraphQLField) -> frozenset[str]:
    """The scopes that every token needs for a field, whatever its source and its arguments are."""
    return frozenset(scope for one in permissions_of(field) if one.required for scope in one.scopes)


def is_oneself(viewer: Viewer, source: Any) -> bool:
    """Whether the token is the token of the person `source.person`."""
    return viewer.person is not None and viewer.person == getattr(source, "person", None)


@cache
def requires(*scopes: str) -> type[BasePermission]:
    """The permission class for fields that need every one of `scopes`."""
    return _permission(ScopePermission, scopes, or_oneself=False)


@cache
def requires_or_oneself(*scopes: str) -> type[BasePermission]:
    """As `requires`, but a person's own token needs no scope; the field's source must have `person: Person`."""
    return _permission(OneselfPermission, scopes, or_oneself=True)


def _permission(parent: type[ScopePermission], scopes: tuple[str, ...], *, or_oneself: bool) -> type[BasePermission]:
    name = parent.__name__ + "".join(part.capitalize() for scope in scopes for part in scope.split(":"))
    directive = Requires(scopes=list(scopes), or_oneself=or_oneself or strawberry.UNSET)
    return type(name, (parent,), {"scopes": scopes, "_schema_directive": directive})
