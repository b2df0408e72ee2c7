"""Attacks by numbers: dear queries, callers that leave, guessed secrets, open endpoints, uploads of many elements."""

import asyncio
import base64
import itertools
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from benchmarks.hostile_http import LINES
from benchmarks.hostile_inputs import LARGEST
from benchmarks.hostile_traffic import Send, Target, Traffic, once_each, repeated

CALLS, ALIASES = 18, 20
GUESSERS = 100
ELSEWHERE = "127.0.0.2"  # another address of this machine
PATHS = ("/", "/no", "/graphql", "/events", "/items", "/users", "/oauth/token", "/oauth/revoke", "/metrics",
         "/%00", "/.well-known/jwks.json", "/graphql/", "//graphql", "/" + "a" * 8_000,
         "/events?" + "only=ACCEPTED&" * 500)  # fmt: skip


def _windows(target: Target) -> list[bytes]:
    """Calls of twenty aliases, each of another window of `trending`."""
    windows = [f"P{days}D" for days in range(1, CALLS * ALIASES + 1)]
    calls = (windows[at : at + ALIASES] for at in range(0, len(windows), ALIASES))
    queries = (" ".join(f'w{n}: trending(window: "{w}") {{ placement }}' for n, w in enumerate(call)) for call in calls)
    return [target.post(json.dumps({"query": f"{{ {query} }}"})) for query in queries]


def _windows_and_leave(target: Target) -> Send:
    calls = _windows(target)

    async def send(traffic: Traffic) -> None:
        for call in itertools.cycle(calls):
            if traffic.over:
                return
            wire = await traffic.opened()
            wire.writer.write(call)
            await wire.writer.drain()
            await asyncio.sleep(0.02)
            wire.close()
            traffic.answers["left"] += 1

    return send


def _guesses(client: Callable[[Target, int], str], address: str) -> Callable[[Target], Send]:
    """A hundred callers at once with wrong secrets."""

    def send(target: Target) -> Send:
        return repeated(
            *(_token_request(target, client(target, number), f"guess-{number}") for number in range(1_000)),
            connections=GUESSERS,
            address=address,
        )

    return send


def _token_request(target: Target, client: str, secret: str) -> bytes:
    credentials = base64.b64encode(f"{client}:{secret}".encode()).decode()
    form = urlencode({"grant_type": "client_credentials"}).encode()
    kind = "application/x-www-form-urlencoded"
    return target.request("POST", "/oauth/token", form, f"Authorization: Basic {credentials}", f"Content-Type: {kind}")


def _forms(target: Target) -> list[bytes]:
    """Token requests that are wrong in other ways, large ones among them."""
    forms = ["a=" + "b" * 16_000, "&".join(f"p{n}=v" for n in range(4_000)), "%" * 16_000, "=&" * 8_000, "a" * LARGEST,
             "grant_type=client_credentials&scope=" + "+".join(["catalog:read"] * 1_000)]  # fmt: skip
    return [target.post(form, "/oauth/token", "application/x-www-form-urlencoded") for form in forms]


def _strangers(target: Target) -> list[bytes]:
    """Requests without a token, on every path, also with large bodies."""
    body = b"[" * LARGEST
    origin = f"Origin: https://{'o' * 8_000}.example"
    preflight = (origin, "Access-Control-Request-Method: POST", f"Access-Control-Request-Headers: {'h,' * 4_000}h")
    found = [target.request(method, path) for path in PATHS for method in ("GET", "POST", "PUT", "BREW")]
    found += [target.request("OPTIONS", path, b"", *preflight) for path in PATHS]
    found += [target.request("POST", path, body, "Content-Type: application/json") for path in PATHS[:7]]
    return found + [target.request("POST", path, b"{}", origin) for path in PATHS[:7]]


def _forged_tokens(target: Target) -> list[bytes]:
    """Tokens that were never issued, all different."""
    head, claims, signature = target.token.split(".")
    made = [f"{head}.{claims}.{number:06d}{signature[6:]}" for number in range(500)]
    made += [f"{head}.{claims[:-7]}{number:07d}.{signature}" for number in range(500)]
    made += [f"{head}.{'e' * 20_000}.{signature}", "." * 20_000, "a" * 20_000]
    body = b'{"query":"{ __typename }"}'
    return [target.request("POST", "/graphql", body, f"Authorization: Bearer {token}") for token in made]


def _uploads(target: Target) -> list[bytes]:
    """Bodies of many elements: empty ones, wrong ones, and as many as allowed."""
    offers = [{"market": f"m{n}"} for n in range(90)]
    lines = [json.dumps({"id": f"hostile-{n}", "offers": offers}, separators=(",", ":")) for n in range(500)]
    bodies = ["{}\n" * (LARGEST // 3), "\n" * LARGEST, "1\n" * (LARGEST // 2), "{}\n" * 500, "[[],\n" * 500,
              "{" * 2_000 + "\n", "\n".join(lines)[: LARGEST - 1], '{"a":' * 900 + "\n"]  # fmt: skip
    arrays = [f"[{'{},' * 345_000}{{}}]", f"[{'0,' * 500_000}0]", "[" * LARGEST, f"[{'[],' * 300_000}0]",
              f'[{{"id":"hostile-1","traits":{{"a":[{"[]," * 300_000}0]}}}}]', f'[{{{chr(34)}a{chr(34)}:0}}]',
              f'[{{"id":"hostile-1","attributes":{{"a":{"[" * 900}{"]" * 900}}}}}]']  # fmt: skip
    found = [target.post(body, path, LINES) for body in bodies for path in ("/items", "/events", "/users")]
    return found + [target.post(body, path) for body in arrays for path in ("/items", "/events", "/users")]


def _dear_queries(target: Target) -> list[bytes]:
    """Allowed queries that cost as much as an allowed query can."""
    user, other = target.users[:2]
    lists = " ".join(
        f'a{n}: recommendations(first: 100, filter: {{price: {{min: "{n}"}}}}) {{ placement }}' for n in range(29)
    )
    contexts = " ".join(
        f'a{n}: recommendations(first: 100, context: {{itemIds: ["{target.items[n]}"]}}) {{ placement }}'
        for n in range(29)
    )
    pages = " ".join(f"a{n}: history(first: {80 + n}) {{ nodes {{ id }} }}" for n in range(16))
    orders = " ".join(f"a{n}: history(first: {80 + n}, types: [PURCHASE]) {{ nodes {{ id }} }}" for n in range(16))
    attributes = " ".join(
        f'a{n}: items(first: 100, filter: {{attributes: [{{key: "k{n}", values: ["1"]}}]}}) {{ nodes {{ id }} }}'
        for n in range(16)
    )
    parts = " ".join(f'{{not: {{brands: ["b{n}"]}} price: {{min: "{n}"}}}}' for n in range(60))
    filters = " ".join(f"a{n}: trending(first: 100, filter: {{anyOf: [{parts}]}}) {{ placement }}" for n in range(2))
    users = " ".join(
        f'a{n}: user(id: "{id}") {{ rfm {{ segment }} known traits }}' for n, id in enumerate(target.users[:20])
    )
    queries = [
        f'{{ user(id: "{user}") {{ {lists} }} }}',
        f'{{ user(id: "{other}") {{ {contexts} }} }}',
        f'{{ user(id: "{user}") {{ {pages} }} }}',
        f'{{ user(id: "{other}") {{ {orders} }} }}',
        "{ items(first: 100) { nodes { similar(first: 40) { placement } } } }",
        "{ items(first: 100) { nodes { similar(first: 1) { nodes { id title } } attributes price { amount } } } }",
        f"{{ {attributes} }}",
        f"{{ {filters} }}",
        f"{{ {users} }}",
        f'{{ user(id: "{user}") {{ recommendations(first: 100) {{ edges {{ reason {{ events {{ id }} }} }} }} }} }}',
    ]  # fmt: skip
    return [target.post(json.dumps({"query": query})) for query in queries]


def _distinct_queries(target: Target) -> list[bytes]:
    """The same list with another filter in each call: nothing of it can be cached."""
    query = (
        "query($id: ID!, $v: ItemFilter) { user(id: $id) { recommendations(first: 100, filter: $v) { placement } } }"
    )
    calls: list[dict[str, Any]] = [
        {"id": target.users[n % len(target.users)], "v": {"categories": [f"c{n}"], "price": {"min": str(n)}}}
        for n in range(3_000)
    ]
    return [target.post(json.dumps({"query": query, "variables": variables})) for variables in calls]


def _gets(path: str, connections: int) -> Callable[[Target], Send]:
    return lambda target: repeated(target.request("GET", path), connections=connections)


ATTACKS: dict[str, Callable[[Target], Send]] = {
    "floods/windows": lambda target: repeated(*_windows(target), connections=CALLS),
    "floods/windows-and-leave": _windows_and_leave,
    "floods/guesses-of-a-client": _guesses(lambda target, _: target.client, "127.0.0.1"),
    "floods/guesses-of-the-honest": _guesses(lambda target, _: target.honest, ELSEWHERE),
    "floods/guesses-of-unknown": _guesses(lambda _, number: f"nobody-{number}", ELSEWHERE),
    "floods/forms": lambda target: repeated(*_forms(target), connections=16),
    "floods/forged-tokens": lambda target: once_each(_forged_tokens(target) * 4, connections=16),
    "floods/strangers": lambda target: repeated(*_strangers(target), connections=32),
    "floods/readyz-48": _gets("/readyz", 48),
    "floods/readyz-500": _gets("/readyz", 500),
    "floods/metrics-48": _gets("/metrics", 48),
    "floods/metrics-500": _gets("/metrics", 500),
    "floods/uploads": lambda target: repeated(*_uploads(target)),
    "floods/dear-queries": lambda target: repeated(*_dear_queries(target), connections=8),
    "floods/distinct-queries": lambda target: once_each(_distinct_queries(target), connections=8),
}
