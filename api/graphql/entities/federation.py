"""Federation 2: a shop's router composes this schema with others, and asks for items and users by their keys."""

import asyncio
from typing import Annotated, Any, ClassVar, Final, cast

import strawberry

from api.graphql.context import Context, Info
from api.graphql.entities.nodes import user_of_node
from api.graphql.topics.items import Item
from api.graphql.topics.people import User, visible_person
from api.graphql.types.bounds import AtMost
from api.graphql.types.nodes import read_node_id
from api.graphql.types.permissions import ScopePermission, requires
from api.graphql.types.scalars import AnyEntity
from core.contract import Person, check_id, check_user_id
from core.errors import Forbidden, InvalidInput, PenchantError
from engine.viewer import Viewer

MOST: Final = 100  # representations of one call
ENTITY_SCOPES: Final = {"Item": "catalog:read", "User": "recommendations:read"}

Entity = Annotated[
    Item | User, strawberry.union("_Entity", description="What other subgraphs may refer to: items and users.")
]


@strawberry.type(name="_Service", description="This schema, for a router.")
class Service:
    """What a router composes."""

    sdl: str = strawberry.field(description="The schema as a subgraph of Apollo Federation 2.")


class EntityPermission(ScopePermission):
    """Each entity needs the scope of its type. The field itself is open to whoever has one of them."""

    scopes: ClassVar[tuple[str, ...]] = tuple(ENTITY_SCOPES.values())
    required = False

    @classmethod
    def alternatives(cls) -> tuple[tuple[str, ...], ...]:
        """The scope of any of the types."""
        return tuple((scope,) for scope in cls.scopes)

    @classmethod
    def allows(cls, viewer: Viewer, source: Any) -> bool:
        """Whether the viewer may read any entity."""
        return any(scope in viewer.scopes for scope in cls.scopes)

    def on_unauthorized(self) -> None:
        """Raise Forbidden."""
        raise Forbidden(f"This needs the scope {' or '.join(self.scopes)}.")


@strawberry.type
class FederationQuery:
    """What a router asks."""

    @strawberry.field(
        name="_service", permission_classes=[requires("schema:read")], description="This schema, for a router."
    )
    async def service(self, info: Info) -> Service | None:
        """The schema as a subgraph; printed once, in a thread, because that takes long."""
        return Service(sdl=await asyncio.to_thread(getattr, info.schema, "subgraph_sdl"))

    @strawberry.field(
        name="_entities",
        permission_classes=[EntityPermission],
        description="Items and users by their keys, for a router: at most 100, in the order asked for. Items need"
        " catalog:read, users recommendations:read; `id` of a User is the id of a user, a guest is found by `nodeId`. A"
        " key that is wrong or that the token may not use is an error in its place only.",
    )
    def entities(
        self,
        info: Info,
        representations: Annotated[
            list[AnyEntity],
            strawberry.argument(
                description="What to find: `__typename`, and `id` or `nodeId`.", directives=[AtMost(elements=MOST)]
            ),
        ],
    ) -> list[Entity | None]:
        """The entities; in place of one that cannot be read, its error."""
        return [cast(Any, _entity(info.context, one)) for one in representations]


def _entity(context: Context, representation: Any) -> Item | User | PenchantError | None:
    try:
        if not isinstance(representation, dict):
            raise InvalidInput("A representation must be an object.", field="representations")
        return _find(context, representation)
    except PenchantError as error:
        return error


def _find(context: Context, representation: dict[str, Any]) -> Item | User | None:
    kind = representation.get("__typename")
    if not isinstance(kind, str) or kind not in ENTITY_SCOPES:
        raise InvalidInput("__typename must be Item or User.", field="representations")
    if ENTITY_SCOPES[kind] not in context.viewer.scopes:
        raise Forbidden(f"This needs the scope {ENTITY_SCOPES[kind]}.")
    if "nodeId" in representation:
        return _by_node_id(context, kind, representation["nodeId"])
    id = check_id(representation.get("id"), "id")
    if kind == "Item":
        return Item.live(context.gateway.catalogue, id)
    return visible_person(context.viewer, Person("user", check_user_id(id, "id")))


def _by_node_id(context: Context, kind: str, node_id: Any) -> Item | User | None:
    named, id = read_node_id(_text(node_id))
    if named != kind:
        raise InvalidInput("nodeId names another type.", field="nodeId")
    return Item.live(context.gateway.catalogue, id) if kind == "Item" else user_of_node(context, id)


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 1_000:
        raise InvalidInput("nodeId must be a text.", field="nodeId")
    return value
