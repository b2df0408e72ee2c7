"""Items: what the shop sells."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import islice
from typing import Annotated, Self, cast

import numpy as np
import strawberry
from numpy.typing import NDArray
from strawberry.scalars import JSON

from api.graphql.context import Info
from api.graphql.execution.columns import FragmentStore, Versioned, kept_as
from api.graphql.planning.pure import pure
from api.graphql.types.connections import After, Connection, Edge, First, check_first
from api.graphql.types.filters import FilterBy, read_filter
from api.graphql.types.keys import KEYS
from api.graphql.types.nodes import Node, node_id_of
from api.graphql.types.permissions import requires
from core.contract import check_id
from core.errors import InvalidInput
from core.uploads import Offer
from db import items as stored
from engine.catalogue.catalogue import Catalogue
from engine.catalogue.offers import is_available, offer_in
from engine.catalogue.packing import attribute_texts
from engine.cursors import read_cursor, write_cursor

MAX_IDS = 500


@strawberry.type(description="An amount of money.")
class Money:
    """An amount of money."""

    amount: Decimal = strawberry.field(description="The exact amount, in units of the currency.")
    currency: str | None = strawberry.field(description="The ISO 4217 code, such as EUR; null when the shop gave none.")


@strawberry.type(description="A picture.")
class Image:
    """The picture of an item."""

    url: str = strawberry.field(description="The address of the picture.")


Market = Annotated[
    strawberry.ID | None,
    strawberry.argument(
        description="The market whose offers count; null or left out: that of the list or item that this is a part of,"
        " which is the one place to give it. Without any: the offer for all markets, or the item's first offer when it"
        " has none for all markets."
    ),
]


class ItemColumns(Versioned["Item"]):
    """A list of items, by the offers of one market. `versions` are those of its records, see `versions_of`."""

    def __init__(
        self, fragments: FragmentStore, records: Sequence[stored.Item], versions: Sequence[int], market: str | None
    ) -> None:
        self.fragments, self.shared = fragments, market
        self._records, self._versions, self._market = records, versions, market

    def __len__(self) -> int:
        return len(self._records)

    def row(self, position: int) -> "Item":
        """The item at a position."""
        return Item.of(self._records[position], self._market)

    def versions(self) -> Sequence[int]:
        """The versions of the items as they are in this list."""
        return self._versions


def versions_of(records: Sequence[stored.Item]) -> list[int]:
    """A number for each item as it is in its record: each change of each item has a number of its own."""
    return [record.changed_seq for record in records]


@kept_as(ItemColumns)
@strawberry.type(description="An item: something that the shop sells.", directives=KEYS)
class Item(Node):
    """A live item of the catalogue. `topics/recommendations.py` adds the fields `similar` and `boughtTogether`."""

    id: strawberry.ID = strawberry.field(description="The shop's own id of the item.")
    group_id: strawberry.ID | None = strawberry.field(
        description="The group of variants the item belongs to; null when it has no variants."
    )
    title: str | None = strawberry.field(description="The name of the item.")
    description: str | None = strawberry.field(description="A text about the item.")
    categories: list[str] = strawberry.field(description="The categories of the item, the widest first.")
    brand: str | None = strawberry.field(description="The brand of the item.")
    image: Image | None = strawberry.field(description="The picture of the item.")
    url: str | None = strawberry.field(description="The address of its page in the shop.")
    app_url: str | None = strawberry.field(description="The link to its page in the shop's app.")
    attributes: JSON | None = strawberry.field(description="All other attributes that the shop gave, as a JSON object.")
    record: strawberry.Private[stored.Item]
    market: strawberry.Private[str | None] = None
    alone: strawberry.Private[ItemColumns | None] = None

    @classmethod
    def live(cls, catalogue: Catalogue, id: str, market: str | None = None) -> Self | None:
        """The live item with this id, by the offers of `market`; None when there is none."""
        number = catalogue.number_of(id)
        record = None if number is None else catalogue.item(number)
        return None if record is None else cls.of(record, market, catalogue.fragments)

    @classmethod
    def of(cls, record: stored.Item, market: str | None = None, fragments: FragmentStore | None = None) -> Self:
        """The public shape of a stored item, by the offers of `market` where a field names no other.

        Its JSON texts are kept in `fragments`, if given.
        """
        return cls(
            node_id=node_id_of("Item", record.id),
            id=strawberry.ID(record.id),
            group_id=None if record.group_id is None else strawberry.ID(record.group_id),
            title=record.title,
            description=record.description,
            categories=list(record.categories),
            brand=record.brand,
            image=None if record.image_url is None else Image(url=record.image_url),
            url=record.url,
            app_url=record.app_url,
            attributes=JSON(record.attributes),
            record=record,
            market=market,
            alone=None if fragments is None else ItemColumns(fragments, [record], versions_of([record]), market),
        )

    @strawberry.field(description="The price of one unit; null when the shop gave none.")
    @pure
    def price(self, market: Market = None) -> Money | None:
        """The offer's price in `market`."""
        offer = self._offer(market)
        return None if offer is None or offer.price is None else Money(amount=offer.price, currency=offer.currency)

    @strawberry.field(description="The price of one unit without a discount; null when the shop gave none.")
    @pure
    def list_price(self, market: Market = None) -> Money | None:
        """The offer's list price in `market`."""
        offer = self._offer(market)
        if offer is None or offer.list_price is None:
            return None
        return Money(amount=offer.list_price, currency=offer.currency)

    @strawberry.field(
        description="Whether the item can be bought in `market`; null or left out: in the market of the list or item"
        " that this is a part of, or else in any market. An item without offers is always available."
    )
    @pure
    def available(self, market: Market = None) -> bool:
        """Whether it can be bought in `market`."""
        return is_available(self.record.offers, self.market if market is None else market)

    @strawberry.field(
        description="One attribute as text; null when the item does not have it. A list is joined by commas; numbers,"
        " truth values and objects are written as JSON."
    )
    @pure
    def attribute(
        self, key: Annotated[str, strawberry.argument(description="The name of the attribute.")]
    ) -> str | None:
        """The attribute named `key`; None when the item does not have it."""
        texts = attribute_texts(self.record.attributes.get(key))
        return ", ".join(texts) if texts else None

    def _offer(self, market: str | None) -> Offer | None:
        return offer_in(self.record.offers, self.market if market is None else market)


@strawberry.type(description="A page of items.")
class ItemConnection(Connection[Item]):
    """A page of items, and how many there are."""

    total_count: int = strawberry.field(description="How many items match, on all pages together.")


@strawberry.type
class ItemQuery:
    """Queries of items."""

    @strawberry.field(
        permission_classes=[requires("catalog:read")], description="One item; null when no item has this id."
    )
    def item(
        self,
        info: Info,
        id: Annotated[strawberry.ID, strawberry.argument(description="The shop's own id of the item.")],
        market: Market = None,
    ) -> Item | None:
        """The live item with this id."""
        info.context.note_shown((check_id(id, "id"),))
        return Item.live(info.context.gateway.catalogue, id, market)

    @strawberry.field(
        permission_classes=[requires("catalog:read")],
        description="Items: those with the given ids, in that order, or all items in the order in which they were"
        " added. Ids without an item are left out.",
    )
    async def items(
        self,
        info: Info,
        ids: Annotated[
            list[strawberry.ID] | None,
            strawberry.argument(description=f"At most {MAX_IDS} of the shop's own ids; null for all items."),
        ] = None,
        filter: FilterBy = None,
        first: First = 20,
        after: After = None,
        market: Market = None,
    ) -> ItemConnection | None:
        """A page of the live items that match."""
        gateway, first = info.context.gateway, check_first(first)
        start = -1 if after is None else int(read_cursor(gateway.signer, "items", after))
        async with info.context.turns:
            mask = gateway.catalogue.mask(read_filter(filter), market)
            if ids is None:
                total, found = int(np.count_nonzero(mask)), _following(mask, start)
            else:
                named = _named(gateway.catalogue, mask, ids)
                total, found = len(named), (one for one in named if one[0] > start)
            places = list(islice(found, first + 1))
            shown = [
                (place, record)
                for place, number in places[:first]
                if (record := gateway.catalogue.item(number)) is not None
            ]
            records = [record for _, record in shown]
            edges = [
                Edge(
                    cursor=write_cursor(gateway.signer, "items", place),
                    node=Item.of(record, market, gateway.catalogue.fragments),
                )
                for place, record in shown
            ]
        info.context.note_shown(ids or [record.id for record in records])
        page = Connection.of(edges, after, more=len(places) > first)
        nodes = ItemColumns(gateway.catalogue.fragments, records, versions_of(records), market)
        return ItemConnection(edges=edges, nodes=cast(list[Item], nodes), page_info=page.page_info, total_count=total)


def _following(mask: NDArray[np.bool_], start: int) -> Iterator[tuple[int, int]]:
    """(place, number) of the items above number `start`. The place is the number: it stays when others come and go."""
    for offset in np.flatnonzero(mask[start + 1 :]):
        yield start + 1 + int(offset), start + 1 + int(offset)


def _named(catalogue: Catalogue, mask: NDArray[np.bool_], ids: Sequence[str]) -> list[tuple[int, int]]:
    """(place, number) of the items of `ids`, each once. The place is the index in `ids`."""
    if len(ids) > MAX_IDS:
        raise InvalidInput(f"ids may have at most {MAX_IDS} elements.", field="ids")
    numbers = enumerate(map(catalogue.number_of, dict.fromkeys(ids)))
    return [(place, number) for place, number in numbers if number is not None and mask[number]]
