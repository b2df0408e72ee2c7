"""`node`: an object fetched again by its nodeId, with the same permissions as the object's own query."""

from typing import Annotated, Any, ClassVar, Literal, cast

import strawberry

from api.graphql.context import Context, Info
from api.graphql.topics.items import Item
from api.graphql.topics.jobs import find_job
from api.graphql.topics.models import Decision, Model, find_model
from api.graphql.topics.people import User, visible_person
from api.graphql.types.nodes import Node, read_node_id
from api.graphql.types.permissions import ScopePermission
from core.contract import Person, check_id, check_user_id
from core.errors import NotFound
from engine.viewer import Viewer

NODE_SCOPES = {  # the scope that each type needs
    "Item": "catalog:read",
    "User": "recommendations:read",
    "Model": "models:read",
    "Decision": "models:read",
    "Job": "models:read",
}


class NodePermission(ScopePermission):
    """Needs the scope of the type in the nodeId."""

    scopes: ClassVar[tuple[str, ...]] = tuple(dict.fromkeys(NODE_SCOPES.values()))
    required = False

    @classmethod
    def alternatives(cls) -> tuple[tuple[str, ...], ...]:
        """The scope of any of the types."""
        return tuple((scope,) for scope in cls.scopes)

    @classmethod
    def allows(cls, viewer: Viewer, source: Any) -> bool:
        """Always: the scope follows from an argument."""
        return True

    def has_permission(self, source: Any, info: Info, **kwargs: Any) -> bool:
        """Whether the viewer may read objects of that type; raises InvalidInput for a text that is not a nodeId."""
        return NODE_SCOPES.get(read_node_id(kwargs["node_id"])[0]) in {*info.context.viewer.scopes, None}


@strawberry.type
class NodeQuery:
    """Relay's query for an object by its nodeId."""

    @strawberry.field(
        permission_classes=[NodePermission],
        description="The object with this nodeId; null when it does not exist. Needs the scope of its type:"
        " catalog:read for items, recommendations:read for people, models:read for models, decisions and training"
        " jobs.",
    )
    async def node(
        self,
        info: Info,
        node_id: Annotated[strawberry.ID, strawberry.argument(description="The `nodeId` of an object.")],
    ) -> Node | None:
        """The object, found by the type in its nodeId."""
        kind, id = read_node_id(node_id)
        if kind == "Item":
            return Item.live(info.context.gateway.catalogue, id)
        if kind == "User":
            return user_of_node(info.context, id)
        if kind == "Model":
            return await _model(info.context, id)
        if kind == "Job":
            return await find_job(info, id)
        return await _decision(info.context, id) if kind == "Decision" else None


def user_of_node(context: Context, id: str) -> User:
    """The user or guest with this id inside a nodeId; raises NotFound for what is none, or not of this token."""
    kind, _, own_id = id.partition(":")
    if kind not in ("user", "guest"):
        raise NotFound()
    check = check_user_id if kind == "user" else check_id
    return visible_person(context.viewer, Person(cast(Literal["user", "guest"], kind), check(own_id, "nodeId")))


async def _model(context: Context, id: str) -> Model | None:
    return await find_model(context, check_id(id, "nodeId"))


async def _decision(context: Context, id: str) -> Decision | None:
    if not (id.isascii() and id.isdigit() and len(id) < 18):
        return None
    record = await context.decisions.get(int(id))
    return Decision.of(record) if record is not None and str(record.id) == id else None
