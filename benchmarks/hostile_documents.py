"""Attacks by documents: texts that are dear to parse, to limit, to validate, to run or to keep."""

import json
from collections.abc import Callable

from benchmarks.hostile_traffic import Send, Target, once_each, repeated

LARGEST_TEXT = 65_536  # bytes
TOKENS = 1_880  # just below the limit of tokens
KEPT_DOCUMENTS = 600


def texts() -> list[str]:
    """Long and malformed texts."""
    size = LARGEST_TEXT - 100
    return [
        f"#{'a' * size}\n{{ __typename }}",
        f"{{ __typename {'#a' + chr(10)} }}".replace("#a\n", "#a\n" * (size // 3)),
        f"{{ __typename {',' * size} }}",
        f"{{ {'a' * size} }}",
        f"{{ {'a' * size}: __typename }}",
        f"{{ items(first: {'9' * size}) {{ nodes {{ id }} }} }}",
        f"{{ items(first: 1{'0' * 10_000}.{'1' * 10_000}e{'9' * 10_000}) {{ nodes {{ id }} }} }}",
        f'{{ item(id: "{"a" * size}") {{ id }} }}',
        f'{{ item(id: """{" " * 30_000}{chr(10) * 30_000}""") {{ id }} }}',
        f'{{ item(id: "{chr(92)}u00e9{"é" * (size // 2)}") {{ id }} }}',
        f"query {'q' * size} {{ __typename }}",
        f"{{ {'[' * size} }}",
        f"{{ trending(filter: {'{a:' * (size // 3)} }}",
        "\ufeff" * (size // 3) + "{ __typename }",
    ]


def nested() -> list[str]:
    """Literals, selections and types nested to the limit of tokens."""
    deep, half = TOKENS // 3, TOKENS // 2
    attributes, objects = '{key: "a", values: ["b"]} ' * (TOKENS // 10), "{a: " * (deep - 9) + "1" + "}" * (deep - 9)
    return [
        f"{{ trending(filter: {'{not: ' * (deep - 9)}{{}}{'}' * (deep - 9)}) {{ placement }} }}",
        f"{{ trending(filter: {{anyOf: {'[' * (half - 9)}{']' * (half - 9)}}}) {{ placement }} }}",
        f"{{ trending(filter: {{anyOf: [{'{} ' * (half - 9)}]}}) {{ placement }} }}",
        f"{{ trending(filter: {{ids: [{'1 ' * (TOKENS - 20)}]}}) {{ placement }} }}",
        f"{{ trending(filter: {{attributes: [{attributes}]}}) {{ placement }} }}",
        f"mutation {{ upsertItems(items: [{'{} ' * (half - 9)}]) {{ accepted }} }}",
        f'mutation {{ upsertUsers(users: [{{id: "a", traits: {objects}}}]) {{ accepted }} }}',
        f"{{ a {'{ a ' * (deep - 9)}{'}' * (deep - 9)} }}",
        f"query($v: {'[' * (half - 9)}ID{']' * (half - 9)}) {{ __typename }}",
        f"{{ {'... { ' * (deep - 9)} __typename {'} ' * (deep - 9)} }}",
        f"{{ {'... on ItemFilter { ' * (TOKENS // 5)} ids {'} ' * (TOKENS // 5)} }}",
    ]  # fmt: skip


def doubling(levels: int, parent: str, last: str) -> str:
    """Fragments that each use the next one twice."""
    uses = [f"fragment f{n} on {parent} {{ ...f{n + 1} ...f{n + 1} }}" for n in range(levels)]
    return f"{' '.join(uses)} fragment f{levels} on {parent} {{ {last} }}"


def repeating() -> list[str]:
    """Fragments and fields that multiply."""
    triple = " ".join(f"fragment g{n} on Item {{ similar {{ nodes {{ ...g{n + 1} }} }} }}" for n in range(8))
    ring = " ".join(f"fragment r{n} on Query {{ ...r{(n + 1) % 100} }}" for n in range(100))
    overlapping = " ".join(f'item(id: "1") {{ a{n}: id similar {{ nodes {{ id }} }} }}' for n in range(28))
    same = "item(id: 1) { similar { nodes { id title } edges { rank node { id } } } } " * 90
    fragments = " ".join(f"fragment s{n} on Item {{ id title brand url }}" for n in range(100))
    many = " ".join(f"query q{n} {{ ...f0 }}" for n in range(20))
    conflicts = " ".join(f"... on Item {{ x: id }} ... on Item {{ x: title }} id{n}: id" for n in range(28))
    return [
        f"{{ ...f0 }} {doubling(28, 'Query', '__typename')}",
        f"{{ ...f0 }} {doubling(28, 'Query', 'me { id }')}",
        f'{{ item(id: "1") {{ ...f0 }} }} {doubling(28, "Item", "id")}',
        f"{many} {doubling(28, 'Query', '__typename')}",
        f"{many} {doubling(200, 'Query', '__typename')}",
        f'{{ item(id: "1") {{ ...g0 }} }} {triple} fragment g8 on Item {{ id }}',
        f"{{ ...r0 }} {ring}",
        f"{{ {overlapping} }}",
        f"{{ {same} }}",
        f'{{ item(id: "1") {{ {" ".join(f"...s{n}" for n in range(100))} }} }} {fragments}',
        f'{{ item(id: "1") {{ {"id " * TOKENS} }} }}',
        f'{{ item(id: "1") {{ {conflicts} }} }}',
        f"{{ {'__typename @skip(if: true) ' * (TOKENS // 7)} }}",
        f"query({' '.join(f'$v{n}: ID' for n in range(TOKENS // 5))}) {{ __typename }}",
        "{ __schema { types { fields { type { fields { type { fields { name } } } } } } } }",
        " ".join(f"query q{n} {{ __typename }}" for n in range(TOKENS // 4)),
        f"{{ {'__typename ' * TOKENS} }}",
    ]


def many_documents() -> list[str]:
    """Different valid documents of nearly as many tokens as allowed, and short enough to be kept."""
    return [_document(number) for number in range(KEPT_DOCUMENTS)]


def _document(number: int) -> str:
    kinds = [
        f"items(ids: [{'1 ' * 100}]) {{ nodes {{ id }} }}",
        "item(id: 1) { similar(filter: {anyOf: [" + "{ids: [1]} " * 14 + "]}) { nodes { id } } }",
    ]
    fields = " ".join(f"a{n}: {kinds[(n + number) % 2]}" for n in range(16))
    return f'{{ {fields} b: item(id: "{number}") {{ id }} }}'


def _posts(found: Callable[[], list[str]]) -> Callable[[Target], Send]:
    def send(target: Target) -> Send:
        return repeated(*(target.post(json.dumps({"query": text})) for text in found()))

    return send


def _keep(target: Target) -> Send:
    return once_each([target.post(json.dumps({"query": text})) for text in many_documents()])


ATTACKS: dict[str, Callable[[Target], Send]] = {
    "documents/long": _posts(texts),
    "documents/nested": _posts(nested),
    "documents/repeating": _posts(repeating),
    "documents/many": _keep,
}
