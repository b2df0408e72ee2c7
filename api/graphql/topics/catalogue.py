"""Mutations of the catalogue: patch items, remove items."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, cast

import strawberry
from strawberry.scalars import JSON

from api.graphql.context import Info
from api.graphql.types.as_read import as_read
from api.graphql.types.batches import BatchPayload
from api.graphql.types.permissions import requires
from engine.catalogue.upserts import drop_items, store_items


@as_read
@strawberry.input(description="An amount of money, as `Money` is read.")
class MoneyInput:
    """An amount of money."""

    amount: Decimal = strawberry.field(
        description="The exact amount, in units of the currency; not negative, at most 4 decimal places."
    )
    currency: str | None = strawberry.field(
        default=strawberry.UNSET, description="The ISO 4217 code, such as EUR; left out: the stored one is kept."
    )


@as_read
@strawberry.input(description="A picture, as `Image` is read.")
class ImageInput:
    """The picture of an item."""

    url: str = strawberry.field(description="The http or https address of the picture.")


@as_read
@strawberry.input(
    description="A patch of the offer in one market: a field left out keeps its value, null clears it. An offer whose"
    " four fields are all cleared is removed."
)
class OfferInput:
    """A patch of an offer."""

    market: strawberry.ID | None = strawberry.field(
        default=strawberry.UNSET,
        description="The market; null or left out for all markets that have no offer of their own.",
    )
    price: Decimal | None = strawberry.field(
        default=strawberry.UNSET,
        description="The price of one unit, not negative, at most 4 decimal places; null when unknown.",
    )
    list_price: Decimal | None = strawberry.field(
        default=strawberry.UNSET, description="The price of one unit without a discount; same bounds as `price`."
    )
    currency: str | None = strawberry.field(
        default=strawberry.UNSET, description="The ISO 4217 code of the prices, such as EUR."
    )
    available: bool | None = strawberry.field(
        default=strawberry.UNSET,
        description="Whether the item can be bought in this market; a new offer is available unless it says otherwise.",
    )


@as_read
@strawberry.input(
    description="A patch of an item: a field left out keeps its value, null clears it. An item that does not exist yet,"
    " or that was removed, is added."
)
class ItemInput:
    """A patch of an item."""

    id: strawberry.ID = strawberry.field(description="The shop's own id of the item.")
    updated_at: datetime | None = strawberry.field(
        default=strawberry.UNSET,
        description="When the shop changed the item; left out: now. A patch older than the stored one is a CONFLICT.",
    )
    group_id: strawberry.ID | None = strawberry.field(
        default=strawberry.UNSET,
        description="The group of variants the item belongs to: a list contains at most one item of a group.",
    )
    title: str | None = strawberry.field(default=strawberry.UNSET, description="The name of the item.")
    description: str | None = strawberry.field(default=strawberry.UNSET, description="A text about the item.")
    categories: list[str] | None = strawberry.field(
        default=strawberry.UNSET, description="The categories of the item, the widest first."
    )
    brand: str | None = strawberry.field(default=strawberry.UNSET, description="The brand of the item.")
    image: ImageInput | None = strawberry.field(default=strawberry.UNSET, description="Its picture.")
    image_url: str | None = strawberry.field(
        default=strawberry.UNSET,
        description="The http or https address of its picture.",
        deprecation_reason="Since 2026-11-28. Use `image { url }`.",
    )
    url: str | None = strawberry.field(
        default=strawberry.UNSET, description="The http or https address of its page in the shop."
    )
    app_url: str | None = strawberry.field(
        default=strawberry.UNSET, description="The link to its page in the shop's app."
    )
    attributes: JSON | None = strawberry.field(
        default=strawberry.UNSET,
        description="Any other attributes: a JSON object of at most 16 kB. A key left out keeps its value, a key"
        " that is null is cleared; null clears all.",
    )
    market: strawberry.ID | None = strawberry.field(
        default=strawberry.UNSET,
        description="The market of `price`, `listPrice`, `currency` and `available`; null or left out for all markets"
        " that have no offer of their own.",
    )
    price: MoneyInput | None = strawberry.field(
        default=strawberry.UNSET, description="The price of one unit in `market`; null when unknown."
    )
    list_price: MoneyInput | None = strawberry.field(
        default=strawberry.UNSET, description="The price of one unit in `market` without a discount."
    )
    currency: str | None = strawberry.field(
        default=strawberry.UNSET,
        description="The ISO 4217 code of `price` and `listPrice`, if they name none themselves.",
    )
    available: bool | None = strawberry.field(
        default=strawberry.UNSET,
        description="Whether the item can be bought in `market`; a new offer is available unless it says otherwise.",
    )
    offers: list[OfferInput] | None = strawberry.field(
        default=strawberry.UNSET,
        description="Patches of the offers in several markets, instead of the five fields above. A market left out"
        " keeps its offer; null clears all offers. An item without offers is always available.",
    )


@strawberry.type(description="The outcomes of `upsertItems`.")
class UpsertItemsPayload(BatchPayload):
    """One outcome per item."""


@strawberry.type(description="The outcomes of `removeItems`.")
class RemoveItemsPayload(BatchPayload):
    """One outcome per id."""


@strawberry.type
class CatalogueMutation:
    """Mutations of the catalogue."""

    @strawberry.mutation(
        permission_classes=[requires("catalog:write")],
        description="Add or change items, at most 500 per call. Every process shows the change within 5 seconds.",
    )
    async def upsert_items(
        self,
        info: Info,
        items: Annotated[list[ItemInput], strawberry.argument(description="The patches, stored in this order.")],
    ) -> UpsertItemsPayload | None:
        """Check and store the patches of items, one by one."""
        gateway = info.context.gateway
        patches = cast(list[Mapping[str, Any]], items)  # see `as_read`
        return UpsertItemsPayload(all_results=await store_items(gateway.shares.bulk, gateway.catalogue, patches))

    @strawberry.mutation(
        permission_classes=[requires("catalog:write")],
        description="Remove items, at most 500 per call. No list shows them any more, in every process within 5"
        " seconds.",
    )
    async def remove_items(
        self,
        info: Info,
        ids: Annotated[list[strawberry.ID], strawberry.argument(description="The shop's own ids of the items.")],
    ) -> RemoveItemsPayload | None:
        """Remove items by id."""
        gateway = info.context.gateway
        return RemoveItemsPayload(all_results=await drop_items(gateway.shares.bulk, gateway.catalogue, ids))
