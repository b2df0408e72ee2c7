"""Items: what a card on a page shows, and what is like it."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Self

import numpy as np
import strawberry
from numpy.typing import NDArray
from strawberry.scalars import JSON

from api.graphql.context import Info
from api.graphql.types.filters import ItemFilter, read_filter
from api.graphql.types.nodes import Node, node_id_of
from api.graphql.types.paging import PageInfo, check_first, read_cursor, write_cursor
from api.graphql.types.permissions import requires
from core.contract import check_id
from core.errors import InvalidInput
from db import items as stored
from engine.catalogue.catalogue import Catalogue, attribute_texts
from engine.catalogue.offers import is_available, offer_in

if TYPE_CHECKING:
    from api.graphql.topics.recommendations import RecommendationConnection

MOST_IDS = 500


@strawberry.type(description="An amount of money.")
class Money:
    """What something costs."""

    amount: Decimal = strawberry.field(description="Units of the currency, exact.")
    currency: str | None = strawberry.field(description="ISO 4217 code, as the shop gave it.")


@strawberry.type(description="A picture.")
class Image:
    """A picture of an item."""

    url: str = strawberry.field(description="Where it is.")


Market = Annotated[
    strawberry.ID | None,
    strawberry.argument(
        description="The market asked for; without it the offer for every market counts, else the item's first."
    ),
]


@strawberry.type(description="Something the shop sells.")
class Item(Node):
    """A live item of the catalogue."""

    id: strawberry.ID = strawberry.field(description="The shop's own id.")
    group_id: strawberry.ID | None = strawberry.field(description="What variants of one thing share.")
    title: str | None = strawberry.field(description="What it is called.")
    description: str | None = strawberry.field(description="What it is.")
    categories: list[str] = strawberry.field(description="Where it belongs, as the shop gave it.")
    brand: str | None = strawberry.field(description="Who makes it.")
    image: Image | None = strawberry.field(description="What it looks like.")
    url: str | None = strawberry.field(description="Its page.")
    app_url: str | None = strawberry.field(description="Its page in the shop's app.")
    attributes: JSON | None = strawberry.field(description="Everything else the shop says of it.")
    record: strawberry.Private[stored.Item]

    @classmethod
    def live(cls, catalogue: Catalogue, id: str) -> Self | None:
        """The live item by that id."""
        number = catalogue.number_of(id)
        record = None if number is None else catalogue.item(number)
        return None if record is None else cls.of(record)

    @classmethod
    def of(cls, record: stored.Item) -> Self:
        """The public shape of a stored item."""
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
        )

    @strawberry.field(description="What it costs; null where the shop gave no price.")
    def price(self, market: Market = None) -> Money | None:
        """The offer's price in `market`."""
        offer = offer_in(self.record.offers, market)
        return None if offer is None or offer.price is None else Money(amount=offer.price, currency=offer.currency)

    @strawberry.field(description="What it costs without a discount; null where the shop gave none.")
    def list_price(self, market: Market = None) -> Money | None:
        """The offer's list price in `market`."""
        offer = offer_in(self.record.offers, market)
        if offer is None or offer.list_price is None:
            return None
        return Money(amount=offer.list_price, currency=offer.currency)

    @strawberry.field(description="Whether it can be had; an item without offers always can.")
    def available(self, market: Market = None) -> bool:
        """Whether it can be had in `market`."""
        return is_available(self.record.offers, market)

    @strawberry.field(
        description="One attribute as text; a list is joined by commas, anything else that is no text is JSON."
    )
    def attribute(self, key: Annotated[str, strawberry.argument(description="Name of the attribute.")]) -> str | None:
        """The attribute named `key`; None when the item has none."""
        texts = attribute_texts(self.record.attributes.get(key))
        return ", ".join(texts) if texts else None

    @strawberry.field(
        permission_classes=[requires("recommendations:read")],
        description="Items most like this one, best first, of those that can be had.",
    )
    async def similar(
        self,
        info: Info,
        first: Annotated[int, strawberry.argument(description="How many, 1 to 100.")] = 20,
        after: Annotated[str | None, strawberry.argument(description="`endCursor` of the page before.")] = None,
        filter: Annotated[ItemFilter | None, strawberry.argument(description="Which items may be listed.")] = None,
        market: Market = None,
    ) -> Annotated["RecommendationConnection", strawberry.lazy("api.graphql.topics.recommendations")] | None:
        """The nearest items, filtered before they are counted."""
        from api.graphql.topics.recommendations import similar_to  # the two types name each other

        return await similar_to(info.context, self.record, first, after, filter, market)


@strawberry.type(description="An item in a list.")
class ItemEdge:
    """An item and its place."""

    cursor: str = strawberry.field(description="Its place in the list.")
    node: Item = strawberry.field(description="The item.")


@strawberry.type(description="A page of items.")
class ItemConnection:
    """Items in the order of their ids as given, else in the order they came to the shop."""

    edges: list[ItemEdge] = strawberry.field(description="The items with their places.")
    nodes: list[Item] = strawberry.field(description="The items alone.")
    page_info: PageInfo = strawberry.field(description="Where the page ends.")


@strawberry.type
class ItemQuery:
    """The catalogue."""

    @strawberry.field(
        permission_classes=[requires("catalog:read")], description="One item; null when there is none by that id."
    )
    def item(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="The shop's own id.")]
    ) -> Item | None:
        """The live item by that id."""
        return Item.live(info.context.gateway.catalogue, check_id(id, "id"))

    @strawberry.field(
        permission_classes=[requires("catalog:read")],
        description="Items by id, in the order asked for, or all of them; ids that name nothing are left out.",
    )
    def items(
        self,
        info: Info,
        ids: Annotated[
            list[strawberry.ID] | None, strawberry.argument(description=f"At most {MOST_IDS} of the shop's own ids.")
        ] = None,
        filter: Annotated[ItemFilter | None, strawberry.argument(description="Which items may be listed.")] = None,
        first: Annotated[int, strawberry.argument(description="How many, 1 to 100.")] = 20,
        after: Annotated[str | None, strawberry.argument(description="`endCursor` of the page before.")] = None,
    ) -> ItemConnection | None:
        """A page of the live items that `filter` takes."""
        gateway, first = info.context.gateway, check_first(first)
        start = -1 if after is None else int(read_cursor(gateway.signer, "items", after))
        mask = gateway.catalogue.mask(read_filter(filter))
        found = _following(mask, start) if ids is None else _named(gateway.catalogue, mask, ids, start)
        places = list(islice(found, first + 1))
        edges = [
            ItemEdge(cursor=write_cursor(gateway.signer, "items", place), node=Item.of(record))
            for place, number in places[:first]
            if (record := gateway.catalogue.item(number)) is not None
        ]
        page_info = PageInfo.around([edge.cursor for edge in edges], after, more=len(places) > first)
        return ItemConnection(edges=edges, nodes=[edge.node for edge in edges], page_info=page_info)


def _following(mask: NDArray[np.bool_], start: int) -> Iterator[tuple[int, int]]:
    """Items above number `start`, each with its place, which is its number: it stays when others come and go."""
    for offset in np.flatnonzero(mask[start + 1 :]):
        yield start + 1 + int(offset), start + 1 + int(offset)


def _named(catalogue: Catalogue, mask: NDArray[np.bool_], ids: Sequence[str], start: int) -> Iterator[tuple[int, int]]:
    """Items by id after place `start`, each with its place among the ids as given, each once."""
    if len(ids) > MOST_IDS:
        raise InvalidInput(f"ids may name at most {MOST_IDS} items.", field="ids")
    for place, id in list(enumerate(dict.fromkeys(ids)))[start + 1 :]:
        number = catalogue.number_of(id)
        if number is not None and mask[number]:
            yield place, number
