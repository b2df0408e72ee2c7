"""Prices and availability of all items, as columns per market that are computed when they are read."""

from array import array
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from core.uploads import Offer

_NO_MARKET, _EVERY_MARKET = 0, 1  # codes: a reader that names no market; an offer for every market
MARKETS_KEPT = 8  # markets whose columns are kept


def offer_in(offers: Sequence[Offer], market: str | None) -> Offer | None:
    """The offer of `market`, else the one for every market. For None: the one for every market, else the first."""
    everywhere = next((offer for offer in offers if offer.market is None), None)
    if market is None:
        return everywhere or (offers[0] if offers else None)
    return next((offer for offer in offers if offer.market == market), everywhere)


def is_available(offers: Sequence[Offer], market: str | None) -> bool:
    """Whether an item with these offers is available.

    An item without offers is available. For market None, one available offer is enough.
    """
    if not offers:
        return True
    if market is None:
        return any(offer.available for offer in offers)
    offer = offer_in(offers, market)
    return offer is not None and offer.available


class Offers:
    """The offers of all items, one entry per offer, so that a market with few items takes little memory."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}
        self._numbers, self._markets = array("I"), array("I")
        self._prices, self._available, self._reduced = array("d"), array("B"), array("B")
        self._money: dict[str | None, int] = {None: 0}  # codes of currencies
        self._currencies = array("B")  # an offer has one of the 180 of ISO 4217
        self._ready: dict[int, tuple[NDArray[np.float64], NDArray[np.bool_]]] = {}

    def add(self, number: int, offers: Sequence[Offer]) -> None:
        """Add the offers of item `number`."""
        self._ready.clear()
        first = offer_in(offers, None)
        if first is None:
            return
        self._append(number, _NO_MARKET, first, available=is_available(offers, None))
        for offer in offers:
            code = _EVERY_MARKET
            if offer.market is not None:
                code = self._codes.setdefault(offer.market, len(self._codes) + 2)
            self._append(number, code, offer, available=offer.available)

    def _append(self, number: int, code: int, offer: Offer, *, available: bool) -> None:
        price, usual = offer.price, offer.list_price
        self._numbers.append(number)
        self._markets.append(code)
        self._prices.append(float("nan") if price is None else float(price))
        self._available.append(available)
        self._reduced.append(price is not None and usual is not None and price < usual)
        self._currencies.append(self._money.setdefault(offer.currency, len(self._money)))

    def remove(self, removed: NDArray[np.bool_]) -> None:
        """Remove the offers of every item that is True in `removed` (by item number)."""
        self._ready.clear()
        kept = ~removed[np.array(self._numbers, np.uint32)]
        self._numbers = array("I", np.array(self._numbers, np.uint32)[kept].tobytes())
        self._markets = array("I", np.array(self._markets, np.uint32)[kept].tobytes())
        self._prices = array("d", np.array(self._prices)[kept].tobytes())
        self._available = array("B", np.array(self._available, np.uint8)[kept].tobytes())
        self._currencies = array("B", np.array(self._currencies, np.uint8)[kept].tobytes())
        self._reduced = array("B", np.array(self._reduced, np.uint8)[kept].tobytes())

    def columns(self, market: str | None, size: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Price (NaN: none) and availability in `market`, by item number, each (size,). Do not write to them."""
        code = self._code(market)
        found = self._ready.pop(code, None)
        if found is None or len(found[0]) != size:
            if len(self._ready) >= MARKETS_KEPT:
                del self._ready[next(iter(self._ready))]  # the one that was not used for longest
            found = self._columns(code, size)
        self._ready[code] = found
        return found

    def priced_in(self, currency: str, market: str | None, size: int) -> NDArray[np.bool_]:
        """(size,) whether the item's price in `market` is in this currency, by item number. A new array."""
        wanted = self._money.get(currency)
        if wanted is None:
            return np.zeros(size, bool)
        return self._in_market(np.array(self._currencies, np.uint8) == wanted, market, size)

    def reduced(self, market: str | None, size: int) -> NDArray[np.bool_]:
        """(size,) whether the item's price in `market` is below its list price there, by item number. A new array."""
        return self._in_market(np.array(self._reduced, np.uint8) > 0, market, size)

    def _in_market(self, said: NDArray[np.bool_], market: str | None, size: int) -> NDArray[np.bool_]:
        """(size,) what is said of the offer of each item that holds in a market, by item number."""
        found = np.zeros(size, bool)
        numbers, markets = np.array(self._numbers, np.uint32), np.array(self._markets, np.uint32)
        for layer in _layers(self._code(market)):
            here = markets == layer
            found[numbers[here]] = said[here]
        return found

    def has_market(self, market: str) -> bool:
        """Whether any offer names the market."""
        return market in self._codes

    def _code(self, market: str | None) -> int:
        return _NO_MARKET if market is None else self._codes.get(market, _EVERY_MARKET)  # unknown markets are one

    def _columns(self, code: int, size: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        numbers, markets = np.array(self._numbers, np.uint32), np.array(self._markets, np.uint32)
        prices, in_stock = np.array(self._prices), np.array(self._available, np.uint8).astype(bool)
        price, available = np.full(size, np.nan), np.ones(size, bool)
        if code != _NO_MARKET:
            available[numbers] = False  # it has offers, so one of them must cover this market
        for layer in _layers(code):
            here = markets == layer
            price[numbers[here]] = prices[here]
            available[numbers[here]] = in_stock[here]
        return price, available


def _layers(code: int) -> list[int]:
    """The markets whose offers hold in a market, each in place of those before it."""
    return [_EVERY_MARKET, code] if code != _NO_MARKET else [code]
