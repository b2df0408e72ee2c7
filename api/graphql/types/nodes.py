"""Relay's Node: one opaque id for everything that can be fetched again by it."""

from base64 import urlsafe_b64decode, urlsafe_b64encode

import strawberry

from core.errors import InvalidInput


@strawberry.interface(description="Something that can be fetched again by its `nodeId`.")
class Node:
    """Types that implement it give `node_id`, as a field or as a resolver over `node_id_of`."""

    node_id: strawberry.ID = strawberry.field(description="Global and opaque; `id` is the shop's own id.")


def node_id_of(kind: str, own_id: str) -> strawberry.ID:
    """The nodeId of the thing of GraphQL type `kind` with the shop's id `own_id`."""
    return strawberry.ID(urlsafe_b64encode(f"{kind}:{own_id}".encode()).rstrip(b"=").decode())


def read_node_id(node_id: str) -> tuple[str, str]:
    """The (GraphQL type, shop's id) a nodeId stands for; raises InvalidInput when it is none of ours."""
    try:
        padded = node_id.encode("ascii") + b"=" * (-len(node_id) % 4)
        kind, colon, own_id = urlsafe_b64decode(padded).decode().partition(":")
    except ValueError:  # not ASCII, not base64, not UTF-8
        colon = ""
    if not colon:
        raise InvalidInput("This is not a nodeId.", field="nodeId")
    return kind, own_id
