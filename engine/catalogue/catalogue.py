"""The whole catalogue in memory, by item number: packed items and columns for filters, refreshed every few seconds."""

import asyncio
import gc
from array import array
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import orjson
import structlog
from numpy.typing import NDArray

from core.errors import StoreUnavailable
from core.stores import log_unavailable
from db.items import Item, catalogue_version, items_changed_since, stream_items
from db.postgres import Pool
from engine.catalogue.attribute_columns import AttributeColumn, AttributeColumns
from engine.catalogue.filters import Filter
from engine.catalogue.fragments import Fragments
from engine.catalogue.index import IndexTerm, InvertedIndex
from engine.catalogue.offers import Offers
from engine.catalogue.packing import attribute_texts, attributes_of, pack, unpack
from ml.masks import distinct

log = structlog.get_logger()

UNPACKED_KEPT = 4_096  # items kept unpacked; any other is unpacked when it is read
MASKS_KEPT = 64  # masks, each of one filter in one market
NO_SUCH_MARKET = ""  # stands for all markets that no offer names: a caller may invent any
MANY_OBJECTS = 20_000  # items and offers that changes brought
SLICE = 5_000  # offers and terms that are applied between two turns of the event loop, about
_TERM = 5  # bytes of attributes that may make a term
_LEAST_GROWTH = 1_024  # item numbers, when the columns grow


class Catalogue:
    """Every live item (not removed). Arrays are indexed by item number; no item has number 0. Not thread-safe."""

    def __init__(self, pool: Pool, poll: float) -> None:
        self._pool, self._poll, self._seq = pool, poll, 0
        self._revision = 0
        self.fragments = Fragments()
        self._numbers: dict[str, int] = {}  # ids of live items
        self._packed: list[bytes | None] = [None] * _LEAST_GROWTH
        self._alive = np.zeros(_LEAST_GROWTH, bool)
        self._group = np.zeros(_LEAST_GROWTH, np.uint32)  # code of the item's variant group; 0 for none
        self._groups: dict[str, int] = {}
        self._variants = [array("I")]  # by the code of a group: the numbers of its items
        self._category = np.zeros(_LEAST_GROWTH, np.uint32)  # code of the item's last category; 0 for none
        self._categories: dict[str, int] = {}
        self._brand = np.zeros(_LEAST_GROWTH, np.uint32)  # code of the item's brand; 0 for none
        self._brands: dict[str, int] = {}
        self._added = np.zeros(_LEAST_GROWTH, np.uint32)  # seconds; 0 for not known
        self._index, self._offers, self._columns = InvertedIndex(), Offers(), AttributeColumns()
        self._unpacked: dict[int, Item] = {}
        self._refreshing = asyncio.Lock()
        self._unfrozen = 0
        self._masks: dict[tuple[Filter | None, str | None], NDArray[np.bool_]] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def version(self) -> int:
        """Grows with every change of the catalogue."""
        return self._seq

    @property
    def revision(self) -> int:
        """Grows with every change of what this object answers: several times while it reads one version."""
        return self._revision

    @property
    def size(self) -> int:
        """The length of every mask; greater than the highest item number."""
        return len(self._alive)

    async def load(self) -> None:
        """Read every live item. Raises what the pool raises."""
        self._seq = await catalogue_version(self._pool)
        async for page in stream_items(self._pool):
            self._change(page, [])
        self._index.merge_tail(always=True)
        await self.refresh()
        log.info("catalogue_loaded", items=len(self))

    def use_pool(self, pool: Pool) -> None:
        """Read changes from this pool from now on: a pool belongs to one event loop, a loaded catalogue does not."""
        self._pool = pool

    async def refresh(self) -> None:
        """Read the items that changed since the last refresh."""
        async with self._refreshing:
            while True:
                live, removed, seq = await items_changed_since(self._pool, self._seq)
                if seq == self._seq:
                    return
                self._change([], [number for _, number in removed])
                self._unfrozen += sum(1 + len(item.offers) for item in live)
                for items in _slices(live):
                    self._change(items, [])
                    await asyncio.sleep(0)
                if self._unfrozen >= MANY_OBJECTS:
                    gc.freeze()  # they live long, and each collection of garbage would look at all of them
                    self._unfrozen = 0
                self._seq = seq
                log.debug("catalogue_changed", changed=len(live), removed=len(removed))

    async def run(self) -> None:
        """Refresh for ever. A refresh that fails is logged; the next one reads what it missed."""
        while True:
            await asyncio.sleep(self._poll)
            try:
                await self.refresh()
            except StoreUnavailable as error:
                log_unavailable(error, doing="refresh the catalogue")
            except Exception as error:  # nobody awaits this task, so it must survive any error
                log.warning("catalogue_not_refreshed", error=repr(error))

    def number_of(self, id: str) -> int | None:
        """The number of the live item with this id."""
        return self._numbers.get(id)

    def numbers_of(self, ids: Iterable[str]) -> NDArray[np.uint32]:
        """The numbers of these items, in order, skipping ids of items that are not live."""
        found = map(self._numbers.get, ids)
        return np.array([number for number in found if number is not None], np.uint32)

    def count_mismatches(self, numbers: Sequence[int], ids: Sequence[str]) -> int:
        """How many of these pairs of number and id contradict the live items, as in a bundle of another database."""
        known = map(self._numbers.get, ids)
        return sum(
            found != number and (found is not None or self.item(number) is not None)
            for number, found in zip(numbers, known, strict=True)
        )

    def item(self, number: int) -> Item | None:
        """The live item with this number."""
        item = self._unpacked.get(number)
        if item is not None:
            return item
        packed = self._packed[number] if 0 <= number < self.size else None
        if packed is None:
            return None
        if len(self._unpacked) >= UNPACKED_KEPT:
            self._unpacked.clear()
        item = self._unpacked[number] = unpack(number, packed)
        return item

    def items(self, numbers: Sequence[int]) -> list[Item | None]:
        """The live items with these numbers; None for each that is not live."""
        unpacked = self._unpacked
        try:
            return [unpacked[number] for number in numbers]
        except KeyError:  # some are not unpacked, or not live
            return [unpacked.get(number) or (self.item(number) if number else None) for number in numbers]

    def groups(self, numbers: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """The variant group's code of each item; 0 for an item without a group."""
        return self._group[numbers]

    def categories(self, numbers: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """The code of each item's last category; 0 for an item without one."""
        return self._category[numbers]

    def brands(self, numbers: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """The code of each item's brand; 0 for an item without one."""
        return self._brand[numbers]

    def added(self, numbers: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """When each item was added, in seconds; 0 for not known."""
        return self._added[numbers]

    async def follow(self, key: str) -> None:
        """Have the column of an attribute ready. It is read from all items, which takes a while, in a thread."""
        if self._columns.find(key) is None:
            packed = list(self._packed)
            column = await asyncio.to_thread(AttributeColumn.of, key, packed)
            column.grow(self.size)
            for number, now in enumerate(self._packed):  # what changed meanwhile
                if number >= len(packed) or now is not packed[number]:
                    column.learn(number, {} if now is None else attributes_of(now))
            self._columns.keep(key, column)

    def attribute(self, key: str) -> AttributeColumn:
        """The column of an attribute, which follows the items. Do not write to it."""
        return self._columns.find(key) or self._columns.keep(key, AttributeColumn.of(key, self._packed))

    def has_market(self, market: str) -> bool:
        """Whether any offer names the market."""
        return self._offers.has_market(market)

    @property
    def has_groups(self) -> bool:
        """Whether any item has a variant group."""
        return bool(self._groups)

    def variants_of(self, numbers: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """The numbers of all items in the variant groups of these items; none for items without a group."""
        codes = set(self._group[numbers].tolist()) - {0}
        if not codes:
            return np.empty(0, np.uint32)
        return np.concatenate([np.frombuffer(self._variants[code], np.uint32) for code in codes])

    def order_columns(self) -> tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.uint32]]:
        """Of every live item, as new arrays: its number, the code of its last category, and when it was added."""
        numbers = np.flatnonzero(self._alive).astype(np.uint32)
        return numbers, self._category[numbers], self._added[numbers]

    def mask(self, wanted: Filter | None = None, market: str | None = None) -> NDArray[np.bool_]:
        """By item number: live items that match `wanted`, by the offers of `market`. Do not write to it."""
        if market is not None and not self.has_market(market):
            market = NO_SUCH_MARKET
        key = (wanted, market)
        mask = self._masks.pop(key, None)
        if mask is None:
            mask = self._alive.copy() if wanted is None else self._matching(wanted, market)
            if len(self._masks) >= MASKS_KEPT:
                del self._masks[next(iter(self._masks))]  # the one that was not used for longest
        self._masks[key] = mask
        return mask

    def sellable(self, wanted: Filter | None = None, market: str | None = None) -> NDArray[np.bool_]:
        """By item number: live items that match `wanted` and are available in `market`; the caller's own array."""
        return self.mask(wanted, market) & self._offers.columns(market, self.size)[1]

    def matching(self, wanted: Filter, market: str | None = None) -> NDArray[np.bool_]:
        """As `mask`, for filters that few lists have: it is the caller's own array, and not kept."""
        return self._matching(wanted, market)

    def numbers_matching(self, wanted: Filter, market: str | None = None) -> NDArray[np.uint32]:
        """The numbers of the live items that match, as a new array: for filters that are read once."""
        if wanted.ids is not None and wanted == Filter(ids=wanted.ids):
            return distinct(self.numbers_of(wanted.ids))
        terms = next(_wanted_terms(wanted), None)
        if not terms or wanted not in (Filter(categories=wanted.categories), Filter(brands=wanted.brands)):
            return np.flatnonzero(self._matching(wanted, market)).astype(np.uint32)
        found = distinct(np.concatenate([self._index.numbers(term) for term in terms]))
        return found[found > 0]

    def _matching(self, wanted: Filter, market: str | None) -> NDArray[np.bool_]:
        mask = self._alive.copy()
        for condition in self._conditions(wanted, market):
            mask &= condition
        return mask

    def _conditions(self, wanted: Filter, market: str | None) -> Iterator[NDArray[np.bool_]]:
        if wanted.ids is not None:
            yield self._mask_of(self.numbers_of(wanted.ids))
        for terms in _wanted_terms(wanted):
            yield self._with_any_of(terms)
        if wanted.without is not None:
            yield ~self._matching(wanted.without, market)
        if wanted.any_of is not None:
            mask = np.zeros(self.size, bool)
            for part in wanted.any_of:
                mask |= self._matching(part, market)
            yield mask
        yield from self._in_market(wanted, market)

    def _in_market(self, wanted: Filter, market: str | None) -> Iterator[NDArray[np.bool_]]:
        price, available = self._offers.columns(market, self.size)
        if wanted.low is not None:
            yield price >= wanted.low
        if wanted.high is not None:
            yield price <= wanted.high
        if wanted.available is not None:
            yield available == wanted.available
        if wanted.currency is not None:
            yield self._offers.priced_in(wanted.currency, market, self.size)
        if wanted.on_sale:
            yield self._offers.reduced(market, self.size)

    def _with_any_of(self, terms: Iterable[IndexTerm]) -> NDArray[np.bool_]:
        mask = np.zeros(self.size, bool)
        for term in terms:
            mask[self._index.numbers(term)] = True
        return mask

    def _mask_of(self, numbers: NDArray[np.uint32]) -> NDArray[np.bool_]:
        mask = np.zeros(self.size, bool)
        mask[numbers] = True
        return mask

    def _change(self, live: Sequence[Item], removed: Sequence[int]) -> None:
        self._masks.clear()
        self._revision += 1
        self._grow(max([*(item.number for item in live), *removed], default=0))
        self._remove([number for number in (*(item.number for item in live), *removed) if self._alive[number]])
        for item in live:
            self._add(item)
        self._index.merge_tail()

    def _grow(self, number: int) -> None:
        more = number + 1 - self.size
        if more > 0:
            more = max(more, _LEAST_GROWTH, self.size // 4)
            self._packed.extend([None] * more)
            self._alive = np.concatenate([self._alive, np.zeros(more, bool)])
            self._group, self._category, self._brand, self._added = (
                np.concatenate([column, np.zeros(more, np.uint32)])
                for column in (self._group, self._category, self._brand, self._added)
            )
            self._columns.grow(self.size)

    def _remove(self, numbers: Sequence[int]) -> None:
        if not numbers:
            return
        removed = self._mask_of(np.array(numbers, np.uint32))
        self._index.remove(removed)
        self._offers.remove(removed)
        self._columns.forget(removed)
        self._alive[removed] = False
        for code in set(self._group[removed].tolist()) - {0}:
            variants = np.frombuffer(self._variants[code], np.uint32)
            self._variants[code] = array("I", variants[~removed[variants]].tobytes())
        for number in numbers:
            packed = self._packed[number]
            if packed is not None:
                del self._numbers[orjson.loads(packed)[0]]
            self._packed[number] = None
            self._unpacked.pop(number, None)

    def _add(self, item: Item) -> None:
        number = item.number
        self._numbers[item.id] = number
        self._packed[number] = pack(item)
        self._alive[number] = True
        self._group[number] = self._join_group(number, item.group_id) if item.group_id else 0
        last = item.categories[-1] if item.categories else None
        self._category[number] = self._categories.setdefault(last, len(self._categories) + 1) if last else 0
        self._brand[number] = self._brands.setdefault(item.brand, len(self._brands) + 1) if item.brand else 0
        self._added[number] = item.added
        self._index.add(number, set(_terms(item)))
        self._offers.add(number, item.offers)
        self._columns.learn(number, item.attributes)

    def _join_group(self, number: int, name: str) -> int:
        """The code of the variant group, which has this item from now on."""
        code = self._groups.setdefault(name, len(self._groups) + 1)
        if code == len(self._variants):
            self._variants.append(array("I"))
        self._variants[code].append(number)
        return code


def _slices(items: Iterable[Item]) -> Iterator[list[Item]]:
    """The items in runs that are applied without a pause."""
    run, size = list[Item](), 0
    for item in items:
        run.append(item)
        size += 5 + len(item.offers) + len(item.categories) + len(orjson.dumps(item.attributes)) // _TERM
        if size >= SLICE:
            yield run
            run, size = [], 0
    if run:
        yield run


def _wanted_terms(wanted: Filter) -> Iterator[list[IndexTerm]]:
    if wanted.categories is not None:
        yield [("category", name) for name in wanted.categories]
    if wanted.brands is not None:
        yield [("brand", name) for name in wanted.brands]
    for key, values in wanted.attributes:
        yield [("attribute", key, value) for value in values]


def _terms(item: Item) -> Iterator[IndexTerm]:
    for category in item.categories:
        yield ("category", category)
    if item.brand is not None:
        yield ("brand", item.brand)
    for key, value in item.attributes.items():
        for text in attribute_texts(value):
            yield ("attribute", key, text)
