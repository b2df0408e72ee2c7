"""The catalogue is kept here: items are patched and removed."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated

import strawberry
from strawberry.scalars import JSON

from api.graphql.context import Info
from api.graphql.types.batches import BatchPayload
from api.graphql.types.patches import given
from api.graphql.types.permissions import requires
from engine.catalogue.upserts import drop_items, store_items


@strawberry.input(description="What an item costs in one market.")
class OfferInput:
    """A price and whether the item can be had at it."""

    market: strawberry.ID | None = strawberry.field(
        default=strawberry.UNSET, description="Which market; null for every market without an offer of its own."
    )
    price: Decimal | None = strawberry.field(
        default=strawberry.UNSET, description="Not negative, at most 4 decimal places."
    )
    list_price: Decimal | None = strawberry.field(default=strawberry.UNSET, description="The price before a discount.")
    currency: str | None = strawberry.field(default=strawberry.UNSET, description="ISO 4217 code of the prices.")
    available: bool = strawberry.field(default=True, description="Whether it can be had.")


@strawberry.input(
    description="An item as the shop describes it: fields left out keep their value, null clears. An item that was"
    " removed comes back."
)
class ItemInput:
    """A patch of an item."""

    id: strawberry.ID = strawberry.field(description="The shop's own id.")
    updated_at: datetime | None = strawberry.field(
        default=strawberry.UNSET,
        description="The shop's clock, now unless given; an older patch than the stored loses.",
    )
    group_id: strawberry.ID | None = strawberry.field(
        default=strawberry.UNSET, description="What variants of one thing share: a list holds one of them."
    )
    title: str | None = strawberry.field(default=strawberry.UNSET, description="What it is called.")
    description: str | None = strawberry.field(default=strawberry.UNSET, description="What it is.")
    categories: list[str] | None = strawberry.field(
        default=strawberry.UNSET, description="Where it belongs, the widest first."
    )
    brand: str | None = strawberry.field(default=strawberry.UNSET, description="Who makes it.")
    image_url: str | None = strawberry.field(default=strawberry.UNSET, description="http or https link of its picture.")
    url: str | None = strawberry.field(default=strawberry.UNSET, description="http or https link of its page.")
    app_url: str | None = strawberry.field(default=strawberry.UNSET, description="Link of its page in the app.")
    attributes: JSON | None = strawberry.field(
        default=strawberry.UNSET, description="Anything else: a JSON object of at most 16 kB, as a whole."
    )
    offers: list[OfferInput] | None = strawberry.field(
        default=strawberry.UNSET, description="All its offers, one per market; without any it can always be had."
    )


@strawberry.type(description="What became of the items of an `upsertItems`.")
class UpsertItemsPayload(BatchPayload):
    """The outcomes of a call's items."""


@strawberry.type(description="What became of the items of a `removeItems`.")
class RemoveItemsPayload(BatchPayload):
    """The outcomes of a call's ids."""


@strawberry.type
class CatalogueMutation:
    """What the shop sells is told here."""

    @strawberry.mutation(
        permission_classes=[requires("catalog:write")],
        description="Describe items, at most 500 a call; an older `updatedAt` than the stored one is a CONFLICT. Every"
        " process shows the change within 5 seconds.",
    )
    async def upsert_items(
        self, info: Info, items: Annotated[list[ItemInput], strawberry.argument(description="Patches, in their order.")]
    ) -> UpsertItemsPayload | None:
        """Judge and store patches of items, one by one."""
        gateway = info.context.gateway
        patches = [given(item) for item in items]
        return UpsertItemsPayload(told=await store_items(gateway.pool, gateway.catalogue, patches))

    @strawberry.mutation(
        permission_classes=[requires("catalog:write")],
        description="Remove items, at most 500 a call; no list shows them any more, within 5 seconds in every process.",
    )
    async def remove_items(
        self,
        info: Info,
        ids: Annotated[list[strawberry.ID], strawberry.argument(description="The shop's own ids.")],
    ) -> RemoveItemsPayload | None:
        """Remove items by id."""
        gateway = info.context.gateway
        return RemoveItemsPayload(told=await drop_items(gateway.pool, gateway.catalogue, ids))
