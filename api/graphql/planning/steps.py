"""The steps of a plan: what to call for each field, and how to complete what it returns.

A step is a field that is not below a list: it is resolved once per request, at a path that is known before. All below a
step is completed by one compiled function where its fields are attributes and pure resolvers
(`api.graphql.planning.writing`); where it is one object with other fields, by further steps; else by graphql-core. For
`{ user(id: $id) { id recommendations { edges { rank } } } }`:

    user             call the resolver with {"id": <variable id>}
      id             read the attribute, complete a string
      recommendations  call the resolver, await it, complete with the function for { edges { rank } }
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from graphql import GraphQLField, GraphQLObjectType
from graphql.execution.collect_fields import FieldDetailsList
from graphql.pyutils import Path
from strawberry.types.field import StrawberryField

from api.graphql.planning.arguments import Arguments
from api.graphql.planning.writing import Completer
from api.graphql.types.permissions import ScopePermission


@dataclass(frozen=True, slots=True)
class Call:
    """How a field is resolved without graphql-core: by a function, or by an attribute when there is none."""

    declared: StrawberryField
    function: Any
    arguments: Arguments
    source: str | None  # the parameter that gets the source; empty for the first one, None for none


@dataclass(frozen=True, slots=True)
class Step:
    """A field that is resolved once per request.

    Without `call`, graphql-core resolves it. `complete` and `fields` are for what it returned; without both,
    graphql-core completes it. `typename` is the answer of `__typename`.
    """

    key: str
    parent: GraphQLObjectType
    details: FieldDetailsList
    field: GraphQLField | None
    path: Path
    call: Call | None = None
    complete: Completer | None = None
    fields: "Fields | None" = None
    expected: type | None = None  # the class of objects of the field's type
    permissions: Sequence[type[ScopePermission]] = ()
    scopes: frozenset[str] = frozenset()  # with all of these, each permission allows each source
    typename: str = ""


@dataclass(frozen=True, slots=True)
class Fields:
    """The steps for the fields of one object, or of null where that is allowed."""

    nullable: bool
    steps: tuple[Step, ...]
