"""Permissions: classes on fields, checked before the resolver, printed in the schema as `@requiresScopes`."""

from collections.abc import Sequence
from functools import cache
from typing import Any, ClassVar

import strawberry
from graphql import GraphQLField
from strawberry.permission import BasePermission
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.schema_directive import Location

from api.graphql.context import Info
from api.graphql.types.scalars import Scope
from core.errors import Forbidden
from engine.viewer import Viewer


@strawberry.schema_directive(
    locations=[
        Location.FIELD_DEFINITION,
        Location.OBJECT,
        Location.INTERFACE,
        Location.SCALAR,
        Location.ENUM,
    ],
    description="The access token needs all scopes of one of these lists. It is declared as in Apollo Federation.",
)
class RequiresScopes:
    """The scopes of a field, for readers of the schema: any of the outer lists, all of an inner list."""

    scopes: list[list[Scope]]


@strawberry.schema_directive(
    locations=[Location.FIELD_DEFINITION],
    description="The token of the person the field is about needs none of the scopes in `@requiresScopes`.",
)
class OrOneself:
    """Marks a field that a person's own token may read without its scopes."""


class ScopePermission(BasePermission):
    """Allows tokens that have every scope in `scopes`."""

    scopes: ClassVar[tuple[str, ...]] = ()
    required: ClassVar[bool] = True  # whether no token may read the field without the scopes

    @classmethod
    def alternatives(cls) -> tuple[tuple[str, ...], ...]:
        """The lists of scopes of which a token needs one."""
        return (cls.scopes,)

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
    return _permission(ScopePermission, scopes)


@cache
def requires_or_oneself(*scopes: str) -> type[BasePermission]:
    """As `requires`, but a person's own token needs no scope; the field's source must have `person: Person`."""
    return _permission(OneselfPermission, scopes)


def _permission(parent: type[ScopePermission], scopes: tuple[str, ...]) -> type[BasePermission]:
    name = parent.__name__ + "".join(part.capitalize() for scope in scopes for part in scope.split(":"))
    return type(name, (parent,), {"scopes": scopes})


def directives_of(permission: type[BasePermission]) -> list[object]:
    """What the schema prints on a field with this permission class."""
    assert issubclass(permission, ScopePermission), f"{permission.__name__} is no class of this module"
    rule = RequiresScopes(scopes=[[Scope(scope) for scope in together] for together in permission.alternatives()])
    return [rule, OrOneself()] if issubclass(permission, OneselfPermission) else [rule]
