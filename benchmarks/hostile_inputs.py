"""Attacks by variables: bodies of up to 1 MB whose values are dear to coerce, and inputs exactly at their bounds."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from benchmarks.hostile_traffic import Send, Target, repeated

LARGEST = 1_048_576  # bytes of a body
SMALL = 15_000
TREND = "query($v: [ItemFilter!]) { trending(filter: {anyOf: $v}) { placement } }"
BY_FILTER = "query($v: ItemFilter) { trending(filter: $v) { placement } }"
ITEMS = "mutation($v: [ItemInput!]!) { upsertItems(items: $v) { accepted results { index outcome message } } }"
USERS = "mutation($v: [UserInput!]!) { upsertUsers(users: $v) { accepted results { index outcome message } } }"
REMOVE = "mutation($v: [ID!]!) { removeItems(ids: $v) { accepted results { index outcome message } } }"
TRACK = "mutation($v: [EventInput!]!) { trackEvents(events: $v) { accepted results { index outcome message } } }"
LISTED = 'query($v: %s) { user(id: "1") { recommendations(%s: $v, first: 1) { placement } } }'
EXCLUDE, AMONG = LISTED % ("[ID!]", "exclude"), LISTED % ("[ID!]", "among")
CONTEXT = LISTED % ("RecommendationContext", "context")
HISTORY = 'query($v: [EventType!]) { user(id: "1") { history(types: $v, first: 1) { nodes { id } } } }'
EXTRA = "{ __typename }"  # with a variable that it does not declare
TYPE_OF_EACH = "query($v: JSON) { __typename @include(if: true) }"

# name: the query, the variables with %s for the repeated element, the element, bytes of the body
FILLED: dict[str, tuple[str, str, str, int]] = {
    "any-of-15kb": (BY_FILTER, '{"v":{"anyOf":[%s]}}', "{}", SMALL),
    "any-of": (BY_FILTER, '{"v":{"anyOf":[%s]}}', "{}", LARGEST),
    "any-of-list": (TREND, '{"v":[%s]}', "{}", LARGEST),
    "any-of-wrong": (BY_FILTER, '{"v":{"anyOf":[%s]}}', "0", LARGEST),
    "filter-ids": (BY_FILTER, '{"v":{"ids":[%s]}}', '"1"', LARGEST),
    "filter-attributes": (BY_FILTER, '{"v":{"attributes":[%s]}}', '{"key":"a","values":[]}', LARGEST),
    "filter-values": (BY_FILTER, '{"v":{"attributes":[{"key":"a","values":[%s]}]}}', '"1"', LARGEST),
    "items-empty": (ITEMS, '{"v":[%s]}', "{}", LARGEST),
    "items": (ITEMS, '{"v":[%s]}', '{"id":"a"}', LARGEST),
    "items-offers": (ITEMS, '{"v":[{"id":"a","offers":[%s]}]}', "{}", LARGEST),
    "items-offers-markets": (ITEMS, '{"v":[{"id":"a","offers":[%s]}]}', '{"market":"a","price":"1.5"}', LARGEST),
    "items-categories": (ITEMS, '{"v":[{"id":"a","categories":[%s]}]}', '"a"', LARGEST),
    "items-attributes": (ITEMS, '{"v":[{"id":"a","attributes":{"a":[%s]}}]}', "[]", LARGEST),
    "users-traits": (USERS, '{"v":[{"id":"hostile","traits":{"a":[%s]}}]}', "{}", LARGEST),
    "users-deep": (USERS, '{"v":[{"id":"hostile","traits":{"a":[%s]}}]}', "[" * 28 + "]" * 28, LARGEST),
    "users-deeper": (USERS, '{"v":[{"id":"hostile","traits":{"a":[%s]}}]}', "[" * 200 + "]" * 200, LARGEST),
    "remove": (REMOVE, '{"v":[%s]}', '"a"', LARGEST),
    "remove-wrong": (REMOVE, '{"v":[%s]}', "{}", LARGEST),
    "exclude": (EXCLUDE, '{"v":[%s]}', '"a"', LARGEST),
    "among-numbers": (AMONG, '{"v":[%s]}', "1", LARGEST),
    "context-items": (CONTEXT, '{"v":{"itemIds":[%s]}}', '"a"', LARGEST),
    "history-types": (HISTORY, '{"v":[%s]}', '"VIEW"', LARGEST),
    "history-types-wrong": (HISTORY, '{"v":[%s]}', '"A"', LARGEST),
    "events-20000": (TRACK, '{"v":[%s]}', '{"type":"VIEW","userId":"1","itemId":"1"}', LARGEST),
    "events-empty": (TRACK, '{"v":[%s]}', "{}", LARGEST),
    "event-items": (TRACK, '{"v":[{"type":"IMPRESSION","userId":"1","itemIds":[%s]}]}', '"1"', LARGEST),
    "event-properties": (TRACK, '{"v":[{"type":"VIEW","userId":"1","properties":{"a":[%s]}}]}', "{}", LARGEST),
    "undeclared": (EXTRA, '{"v":[%s]}', "[]", LARGEST),
    "unused": (TYPE_OF_EACH, '{"v":[%s]}', "{}", LARGEST),
    "same-key": (EXTRA, '{"v":{%s}}', '"a":0', LARGEST),
    "huge-numbers": (REMOVE, '{"v":[%s]}', "9" * 4_000, LARGEST),
    "escapes": (REMOVE, '{"v":["%s"]}', "\\u00e9,", LARGEST),
}  # fmt: skip
TOGETHER = {  # attacks that send several of these in turns
    "any-of-15kb": ("any-of-15kb",),
    "any-of": ("any-of", "any-of-list", "any-of-wrong"),
    "filter-lists": ("filter-ids", "filter-attributes", "filter-values"),
    "items": ("items-empty", "items"),
    "item-lists": ("items-offers", "items-offers-markets", "items-categories", "items-attributes"),
    "users": ("users-traits", "users-deep", "users-deeper"),
    "remove": ("remove", "remove-wrong", "huge-numbers", "escapes"),
    "exclude": ("exclude", "among-numbers", "context-items"),
    "history-types": ("history-types", "history-types-wrong"),
    "events": ("events-20000", "events-empty", "event-items", "event-properties"),
    "unused": ("undeclared", "unused", "same-key"),
}


def call(query: str, variables: str) -> str:
    """The body of a request with these variables, given as JSON."""
    return f'{{"query":{json.dumps(query)},"variables":{variables}}}'


def filled(query: str, variables: str, element: str, size: int) -> str:
    """A body of at most `size` bytes with the element as often as it fits."""
    room = size - len(call(query, variables))
    return call(query, variables % ",".join([element] * (room // (len(element) + 1))))


def deep(target: Target) -> list[bytes]:
    """Values nested as deep as a body allows, below and above what JSON parsers take."""
    nests = [("[", "]", depth) for depth in (30, 200, 900, 500_000)] + [('{"a":', "}", depth) for depth in (30, 900)]
    values = [f"{left * depth}{'0' if left != '[' else ''}{right * depth}" for left, right, depth in nests]
    nots = ["{" + '"not":{' * depth + "}" * (depth + 1) for depth in (4, 30, 900)]
    return [
        *(target.post(call(EXTRA, f'{{"v":{value}}}')) for value in values),
        *(target.post(call(BY_FILTER, f'{{"v":{value}}}')) for value in nots),
        *(target.post(call(USERS, f'{{"v":[{{"id":"hostile","traits":{{"a":{value}}}}}]}}')) for value in values),
    ]


def shared(target: Target) -> list[bytes]:
    """Twenty to thirty aliases that use one variable, which is at its bound."""
    ids = json.dumps([f"none-{number}" for number in range(490)])
    roots = " ".join(f"a{n}: trending(filter: $v) {{ placement }}" for n in range(20))
    lists = " ".join(f"a{n}: recommendations(filter: $v, first: 1) {{ placement }}" for n in range(30))
    parts = json.dumps({"anyOf": [{"brands": [f"b{n}"], "not": {"ids": [f"i{n}"]}} for n in range(100)]})
    each = [json.dumps({"attributes": [{"key": f"k{n}", "values": ["1"]} for n in range(240)]}), parts]
    queries = [f"query($v: ItemFilter) {{ {roots} }}", f'query($v: ItemFilter) {{ user(id: "1") {{ {lists} }} }}']
    return [target.post(call(query, f'{{"v":{value}}}')) for query in queries for value in [f'{{"ids":{ids}}}', *each]]


def allowed(target: Target) -> list[bytes]:
    """Inputs that are accepted, as large as the bounds allow."""
    return [target.post(body) for body in _allowed(target)]


def _allowed(target: Target) -> Iterator[str]:
    now = datetime.now(UTC).isoformat()
    offers = [{"market": f"m{n}", "price": "1.50", "listPrice": "2", "currency": "EUR"} for n in range(18)]
    yield _call(ITEMS, [{"id": f"hostile-{n}", "offers": offers} for n in range(500)])
    yield _call(ITEMS, [{"id": f"hostile-{n}", "categories": [f"c{at}" for at in range(90)]} for n in range(500)])
    yield _call(ITEMS, [{"id": f"hostile-{n}", "attributes": {f"k{k}": k for k in range(90)}} for n in range(500)])
    yield _call(ITEMS, [{"id": f"hostile-{n}", "description": "d" * 1_800} for n in range(500)])
    yield _call(USERS, [{"id": f"hostile-{n}", "traits": {f"k{k}": [k] for k in range(40)}} for n in range(500)])
    yield _call(USERS, [{"id": f"hostile-{n}", "traits": {"a": "t" * 16_000}} for n in range(60)])
    yield _call(REMOVE, [f"hostile-{n}" for n in range(500)])
    yield _call(REMOVE, ["x" * 128 + str(n) for n in range(500)])
    views = [{"type": "VIEW", "userId": f"hostile-{n % 20}", "itemId": "1", "occurredAt": now} for n in range(500)]
    yield _call(TRACK, views)
    yield _call(TRACK, [{**view, "properties": {f"k{k}": "v" for k in range(80)}} for view in views])
    yield _call(TRACK, [{**view, "properties": {"a": "p" * 1_700}} for view in views])
    seen = {"type": "IMPRESSION", "userId": "hostile-1", "itemIds": [f"i{n}" for n in range(500)]}
    yield _call(TRACK, [seen for _ in range(90)])
    yield _call(TRACK, [{"type": "PURCHASE", "userId": str(n), "unitPrice": "NaN", "quantity": -1} for n in range(500)])
    yield _call(EXCLUDE, [*target.items, *(f"i{n}" for n in range(400))][:400])
    yield _call(AMONG, [*target.items, *(f"i{n}" for n in range(500))][:500])
    yield _call(CONTEXT, {"itemIds": [*target.items, *(f"i{n}" for n in range(100))][:100]})
    yield _call(HISTORY, ["VIEW", "PURCHASE"] * 250)


def months(target: Target) -> list[bytes]:
    """Events of every month since 1990: each stored one could make a partition for good."""
    moments = [f"{1990 + n // 12}-{1 + n % 12:02}-05T00:00:00Z" for n in range(432)]
    view = {"type": "VIEW", "userId": "hostile-1", "itemId": "1"}
    return [target.post(_call(TRACK, [{**view, "occurredAt": moment} for moment in moments]))]


def _call(query: str, value: object) -> str:
    return call(query, json.dumps({"v": value}, separators=(",", ":")))


def together(names: tuple[str, ...]) -> Callable[[Target], Send]:
    """An attack that sends these bodies of FILLED."""
    return lambda target: repeated(*(target.post(filled(*FILLED[name])) for name in names))


ATTACKS: dict[str, Callable[[Target], Send]] = {
    **{f"variables/{name}": together(names) for name, names in TOGETHER.items()},
    "variables/deep": lambda target: repeated(*deep(target)),
    "variables/shared": lambda target: repeated(*shared(target)),
    "variables/allowed": lambda target: repeated(*allowed(target)),
    "variables/months": lambda target: repeated(*months(target)),
}
