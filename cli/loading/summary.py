"""What a load found, in words and for machines: how much of what, and what looks odd."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cli.loading.columns import Kind
from cli.loading.tallies import Tally
from core.events import EventType

_ENOUGH: Final = 20  # lines that say something
_SOME, _MANY, _MOST = 0.05, 0.3, 0.9  # of the lines
_REASONS: Final = 3
_WITHOUT_CENTS: Final = frozenset(
    "BIF CLP COP DJF GNF HUF IDR ISK JPY KMF KRW PYG RWF TWD UGX VND VUV XAF XOF XPF".split()
)


@dataclass(frozen=True, slots=True)
class Summary:
    """What a file holds. `reasons`: how many lines were rejected for each reason."""

    kind: Kind
    tally: Tally
    rounded: int
    reasons: Mapping[str, int]
    known: int = 0  # events that name an item of the catalogue
    unknown: int = 0  # events that name another item
    naming: str | None = None  # the same in words
    omitted: int | None = None  # items that a complete file leaves out, made unavailable
    returned: int = 0  # items that an earlier complete file left out, available again

    def lines(self) -> Iterator[str]:
        """The summary in words."""
        if self.tally.lines:
            yield self._holds()
        if self.rounded:
            yield f"{self.rounded:,} amounts had more than four decimal places and were rounded."
        for reason, lines in sorted(self.reasons.items(), key=lambda each: -each[1])[:_REASONS]:
            yield f"rejected: {lines:,} because {reason}"
        if self.naming:
            yield self.naming
        if self.omitted is not None:
            yield f"{self.omitted:,} items that the file leaves out are now unavailable, {self.returned:,} are back."
        for odd in self.odd():
            yield f"odd: {odd}"

    def document(self) -> dict[str, Any]:
        """The summary for machines."""
        tally, span = self.tally, self.tally.span()
        named = self.known + self.unknown
        events = {
            "people": tally.people.count, "orders": tally.orders.count, "types": dict(tally.types),
            "from": span and span[0], "to": span and span[1],
        } if self.kind == Kind.EVENTS else {}  # fmt: skip
        counts = {"users" if self.kind == Kind.USERS else "items": tally.items.count}
        completed = {} if self.omitted is None else {"omitted": self.omitted, "returned": self.returned}
        return {
            **counts, **events, **completed, "approximate": not self._is_exact(), "rounded": self.rounded,
            "reasons": dict(self.reasons), "knownItemShare": self.known / named if named else None,
            "naming": self.naming, "odd": list(self.odd()),
        }  # fmt: skip

    def _is_exact(self) -> bool:
        return self.tally.people.exact and self.tally.items.exact and self.tally.orders.exact

    def _holds(self) -> str:
        tally, span = self.tally, self.tally.span()
        about = "" if self._is_exact() else "about "
        if self.kind != Kind.EVENTS or span is None:
            return f"{about}{tally.items.count:,} {self.kind}"
        types = ", ".join(f"{lines:,} {type}" for type, lines in tally.types.most_common())
        counts = f"{tally.people.count:,} people, {tally.items.count:,} items, {tally.orders.count:,} orders"
        return f"{about}{counts}, from {span[0]:%F} to {span[1]:%F}: {types}"

    def odd(self) -> Iterator[str]:
        """What looks as if the file or its recipe were wrong."""
        yield from self._odd_reasons()
        yield from self.tally.blanks.words()
        if self.tally.early:
            yield f"{self.tally.early:,} {self.kind} were updated before 1990: is the format of updatedAt right?"
        if self.tally.together:
            some = ", ".join(f"`{name[:40]}`" for name in dict.fromkeys(self.tally.together[:_REASONS]))
            yield f'categories look like two in one, as {some}: the recipe needs categories = {{ .., separator = "," }}'
        if self.tally.lines < _ENOUGH:
            return
        yield from self._odd_prices()
        if self.kind == Kind.EVENTS:
            yield from self._odd_events()

    def _odd_reasons(self) -> Iterator[str]:
        rejected = sum(self.reasons.values())
        for part, words in (("before 1990", "before 1990"), ("ahead", "in the future"), ("usual time", "far from now")):
            lines = sum(lines for reason, lines in self.reasons.items() if part in reason)
            if 2 * lines > rejected + self.tally.lines:
                yield f"most times lie {words}: is the format of the times right?"

    def _odd_prices(self) -> Iterator[str]:
        prices = self.tally.prices
        if prices.lines < _ENOUGH:
            return
        if prices.least == prices.most:
            yield f"all prices are {prices.least:g}"
        elif prices.whole == prices.lines and prices.large >= _MOST * prices.lines and self._has_cents():
            yield "all prices are whole numbers and most are 100 or more: are they in cents?"

    def _has_cents(self) -> bool:
        return not self.tally.currencies or bool(self.tally.currencies - _WITHOUT_CENTS)

    def _odd_events(self) -> Iterator[str]:
        tally = self.tally
        _, most = tally.busiest.most()
        if most >= _MANY * tally.lines:
            yield f"one person has {most / tally.lines:.0%} of the events"
        if tally.midnights == tally.lines:
            yield "all events are at midnight: the times of day are missing, and with them the order within a day"
        if tally.ordered >= _ENOUGH and tally.orders.exact and tally.orders.count == tally.ordered:
            yield "every line is an order of its own: does orderId name the order?"
        if tally.ordered == tally.lines and self._is_exact() and tally.orders.count < tally.people.count:
            yield (
                f"{tally.people.count:,} people share {tally.orders.count:,} order ids: does orderId name the order?"
                " What a person buys under one id is one order, whenever that was"
            )
        if tally.repeated >= _SOME * tally.lines:
            yield f"{tally.repeated / tally.lines:.0%} of the events are equal to an earlier line of the file"
        if len(tally.several) >= _SOME * tally.checked and tally.several:
            some = ", ".join(f"`{id[:40]}`" for id in tally.several[:_REASONS])
            yield f'ids of items look like several in one, as {some}: does the recipe need each = "..." for them?'
        if EventType.PURCHASE not in tally.types:
            yield (
                "there is no PURCHASE, and a training learns from purchases: a recipe with type = { value ="
                ' "PURCHASE" } loads others as such'
            )
