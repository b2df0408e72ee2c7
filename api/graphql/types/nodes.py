"""Relay's Node: one opaque id for every object that can be fetched again."""

from base64 import urlsafe_b64decode
from binascii import b2a_base64
from typing import Final

import strawberry

from core.errors import InvalidInput

NODE_ID: Final = "The object's id in this API: unique over all types, and opaque. `id` is the id within its type."
_URL_SAFE = bytes.maketrans(b"+/", b"-_")


@strawberry.interface(description="An object that `node` can fetch again by its `nodeId`.")
class Node:
    """Types that implement it set `node_id` to `node_id_of(...)`, or have a pure resolver for it."""

    node_id: strawberry.ID = strawberry.field(description=NODE_ID)


def node_id_of(kind: str, own_id: str) -> strawberry.ID:
    """The nodeId of the object of the GraphQL type `kind` with the id `own_id`."""
    text = b2a_base64(f"{kind}:{own_id}".encode(), newline=False)
    return strawberry.ID(text.translate(_URL_SAFE, b"=").decode())


def read_node_id(node_id: str) -> tuple[str, str]:
    """The (GraphQL type, own id) in a nodeId; raises InvalidInput for any other text."""
    try:
        padded = node_id.encode("ascii") + b"=" * (-len(node_id) % 4)
        kind, colon, own_id = urlsafe_b64decode(padded).decode().partition(":")
    except ValueError:  # not ASCII, not base64, not UTF-8
        colon = ""
    if not colon:
        raise InvalidInput("This is not a nodeId.", field="nodeId")
    return kind, own_id
