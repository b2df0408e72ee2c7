"""Numbers and amounts of money as people and programs write them: grouped, with a currency, with an exponent."""

import re
from decimal import ROUND_HALF_EVEN, Decimal
from functools import partial
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from cli.loading.odd_texts import Meaning, Meanings, read_odd
from core.amounts import DECIMAL_PLACES
from core.currencies import CURRENCIES

_LAST_PLACE: Final = Decimal(1).scaleb(-DECIMAL_PLACES)
_LONGEST: Final = 60  # characters of a number with its signs; `Decimal` takes any length
_LARGEST_EXPONENT: Final = 20
_BLANKS: Final = re.compile(r"\s+")  # no-break and thin blanks too
_GROUPING: Final = {".": ",'", ",": ".'"}  # beside blanks; by decimal mark
_PLAIN: Final = {
    ".": rf"^-?[0-9]+(\.[0-9]{{1,{DECIMAL_PLACES}}})?$",
    ",": r"^-?[0-9]+$",
}
_DECIMAL_COMMA: Final = rf"^-?[0-9]+,[0-9]{{1,{DECIMAL_PLACES}}}$"
_NO_CENTS: Final = re.compile(r"(?<=\d)[.,][-\u2013\u2014]{1,2}")  # 5,- and 5.\u2013 are prices of 5
_WORD: Final = r"[^\d\s.,'()+-][^\d\s,'()+-]{0,5}"
_WRITTEN: Final = re.compile(
    rf"(?P<minus1>[-+]?) ?(?P<before>{_WORD})? ?(?P<minus2>[-+]?)(?P<number>[\d.,' ]*\d[.,]?(?:[eE][+-]?\d{{1,3}})?)"
    rf" ?(?P<minus3>-?) ?(?P<after>{_WORD})? ?(?P<minus4>-?)",
    re.ASCII,
)

_MEANT: Final = {
    "€": "EUR", "EURO": "EUR", "£": "GBP", "¥": "JPY CNY", "￥": "JPY CNY", "CN¥": "CNY", "JP¥": "JPY", "元": "CNY",
    "円": "JPY", "RMB": "CNY", "US$": "USD", "CA$": "CAD", "C$": "CAD NIO", "AU$": "AUD", "A$": "AUD", "NZ$": "NZD",
    "HK$": "HKD", "NT$": "TWD", "S$": "SGD", "MX$": "MXN", "R$": "BRL", "₹": "INR", "RS": "INR PKR LKR NPR MUR",
    "₽": "RUB", "РУБ": "RUB", "₺": "TRY", "TL": "TRY", "₩": "KRW", "฿": "THB", "₫": "VND", "₪": "ILS", "₴": "UAH",
    "₱": "PHP", "₦": "NGN", "₸": "KZT", "ZŁ": "PLN", "KČ": "CZK", "FT": "HUF", "FR": "CHF", "SFR": "CHF",
    "LEI": "RON MDL", "ЛВ": "BGN", "KR": "SEK NOK DKK ISK",
    "$": "USD CAD AUD NZD SGD HKD TWD MXN ARS CLP COP UYU BSD BBD BZD BMD BND FJD GYD JMD KYD LRD NAD SBD SRD TTD XCD",
}  # fmt: skip
SIGNS: Final = {code: frozenset({code}) for code in CURRENCIES} | {
    sign: frozenset(codes.split()) for sign, codes in _MEANT.items()
}
"""The currencies that a sign, a code or a usual short word can mean; more than one where it is ambiguous."""


def read_amounts(texts: pa.Array, decimal: str | None) -> Meanings:
    """Amounts as plain decimals of at most four places, rounded half-even, and the currencies written beside them."""
    return _read(texts, decimal, partial(read_amount, decimal=decimal))


def read_quantities(texts: pa.Array, decimal: str | None) -> Meanings:
    """Whole numbers, also when they are written with zeros behind the point; the contract decides about others."""
    found = _read(texts, decimal, partial(_read_quantity, decimal=decimal))
    return found._replace(column=plain_decimals(found.column))


def read_amount(text: str, decimal: str | None) -> Meaning:
    """An amount as a plain decimal of at most four places. Without a decimal mark it is the point."""
    written = _written(text)
    if isinstance(written, str):
        return Meaning(reason=written)
    number = _number(written["number"].strip(), decimal)
    if isinstance(number, str):
        return Meaning(reason=number)
    currency = _currency(written["before"], written["after"])
    if currency is not None and currency not in SIGNS:
        return Meaning(reason="names a currency that is not known")
    rounded = number.quantize(_LAST_PLACE, ROUND_HALF_EVEN)
    value = -rounded if _is_negative(written) else rounded
    return Meaning(_plain(value), currency=currency, rounded=rounded != number)


def _read_quantity(text: str, decimal: str | None) -> Meaning:
    found = read_amount(text, decimal)
    if found.currency is not None or found.rounded:
        return Meaning(reason="must be a whole number")
    return found


def _read(texts: pa.Array, decimal: str | None, read: partial[Meaning]) -> Meanings:
    if decimal == ",":
        simple = pc.match_substring_regex(texts, _DECIMAL_COMMA)
        texts = pc.if_else(pc.fill_null(simple, False), pc.replace_substring(texts, ",", "."), texts)
        plain = pc.or_(simple, pc.match_substring_regex(texts, _PLAIN[","]))
    else:
        plain = pc.match_substring_regex(texts, _PLAIN["."])
    return read_odd(texts, plain, read)


def _written(text: str) -> dict[str, str] | str:
    """The parts of an amount, or the reason why it is none."""
    text = _BLANKS.sub(" ", text.strip()).replace("\u2212", "-").replace("\u2019", "'")
    inside = text[1:-1].strip() if text.startswith("(") and text.endswith(")") else text
    found = _WRITTEN.fullmatch(_NO_CENTS.sub("", inside)) if len(inside) <= _LONGEST else None
    if found is None:
        return "is not a number"
    parts = {name: part or "" for name, part in found.groupdict().items()}
    signs = [parts[f"minus{place}"] for place in range(1, 5)] + ["-" if inside is not text else ""]
    if sum(bool(sign) for sign in signs) > 1:
        return "has two signs"
    before, after = _sign(parts["before"]), _sign(parts["after"])
    if before and after and not SIGNS.get(before, frozenset()) & SIGNS.get(after, frozenset()):
        return "names two currencies"
    return {**parts, "minus": "".join(signs)}


def _is_negative(parts: dict[str, str]) -> bool:
    return parts["minus"] == "-"


def _sign(text: str) -> str:
    return text.upper().rstrip(".")


def _currency(before: str, after: str) -> str | None:
    """The less ambiguous of the two."""
    named = [sign for sign in (_sign(before), _sign(after)) if sign]
    return min(named, key=lambda sign: len(SIGNS.get(sign, ()))) if named else None


def _number(text: str, decimal: str | None) -> Decimal | str:
    """The number, or the reason why it cannot be read. Without a decimal mark it must mean one number only."""
    if decimal is not None or ("e" in text.lower() and "," not in text):
        return _marked(text, decimal or ".")
    readings = [number for mark in ".," if not isinstance(number := _marked(text, mark), str)]
    if not readings:
        return "is not a number"
    if len(set(readings)) > 1:
        return "can mean two numbers: say with `decimal` in a recipe which mark comes before the decimals"
    return readings[0]


def _marked(text: str, decimal: str) -> Decimal | str:
    """The number with this decimal mark, or the reason: the other marks group, and only before three digits."""
    mantissa, _, exponent = text.upper().partition("E")
    whole, _, fraction = mantissa.partition(decimal)
    digits = _ungrouped(whole, decimal)
    if digits is None or not (fraction.isdigit() or not fraction):
        return f"is not a number with the decimal mark {decimal!r}"
    if abs(int(exponent or 0)) > _LARGEST_EXPONENT or len(digits) + int(exponent or 0) > _LARGEST_EXPONENT:
        return "has too many digits"
    return Decimal(f"{digits or 0}.{fraction or 0}E{exponent or 0}")


def _ungrouped(whole: str, decimal: str) -> str | None:
    """The digits before the decimal mark without grouping marks, all of one kind; None where one does not group."""
    if whole.isdigit() or not whole:
        return whole
    marks = set(re.sub(r"\d", "", whole))
    if len(marks) != 1:
        return None
    (mark,) = marks
    threes = re.fullmatch(rf"[1-9]\d{{0,2}}(?:{re.escape(mark)}\d{{3}})+", whole)
    indian = mark == "," and re.fullmatch(r"[1-9]\d?(?:,\d\d)+,\d{3}", whole)
    return whole.replace(mark, "") if mark in _GROUPING[decimal] + " " and (threes or indian) else None


def _plain(value: Decimal) -> str:
    return format(value.normalize(), "f") if value else "0"


def plain_decimals(amounts: pa.Array) -> pa.Array:
    """Decimal texts without needless zeros behind the point."""
    pointed = pc.match_substring(amounts, ".")
    if not pc.any(pointed).as_py():
        return amounts
    return pc.if_else(pointed, pc.utf8_rtrim(pc.utf8_rtrim(amounts, "0"), "."), amounts)
