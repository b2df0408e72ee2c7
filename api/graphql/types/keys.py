"""Keys: the fields by which a router, and other subgraphs, refer to an object. Printed as `@key`."""

import strawberry
from strawberry.schema_directive import Location

from api.graphql.types.scalars import FieldSet


@strawberry.schema_directive(
    locations=[Location.OBJECT, Location.INTERFACE],
    repeatable=True,
    description="A router may ask for this object by these fields. It is declared as in Apollo Federation.",
)
class Key:
    """The fields of a key, as a selection."""

    fields: FieldSet
    resolvable: bool | None = True


KEYS = [Key(fields=FieldSet("id")), Key(fields=FieldSet("nodeId"))]
