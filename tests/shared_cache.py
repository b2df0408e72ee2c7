"""A shared HTTP cache as RFC 9111 allows it: it stores all that it may, so that what it may not store is found."""

from dataclasses import dataclass, field

import httpx


@dataclass
class _Stored:
    """An answer, the request headers that it depends on, and when it was got or found unchanged."""

    asked: dict[str, str | None]
    response: httpx.Response
    body: bytes
    at: float


@dataclass
class SharedCache(httpx.AsyncBaseTransport):
    """Answers from what it stored, else from `origin`. Each answer says which in `X-Cache`. `now` moves by hand."""

    origin: httpx.AsyncBaseTransport
    now: float = 0.0
    _stored: dict[str, list[_Stored]] = field(default_factory=dict)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """HIT, REVALIDATED or MISS."""
        found = self._find(request)
        if found is not None and self.now - found.at < _age(found.response):
            return _answer(found, "HIT")
        if found is not None:
            request.headers["if-none-match"] = found.response.headers["etag"]
        response = await self.origin.handle_async_request(request)
        body = await response.aread()
        if response.status_code == 304 and found is not None:
            found.at = self.now
            found.response.headers.update(response.headers)
            return _answer(found, "REVALIDATED")
        kept = _Stored(_selecting(request, response), response, body, self.now)
        if _may_store(request, response):
            others = [one for one in self._stored.get(str(request.url), []) if one.asked != kept.asked]
            self._stored[str(request.url)] = [*others, kept]
        return _answer(kept, "MISS")

    def purge(self, key: str) -> None:
        """Drop the answers with this key in Surrogate-Key."""
        for url, stored in self._stored.items():
            self._stored[url] = [one for one in stored if key not in one.response.headers["surrogate-key"].split()]

    def _find(self, request: httpx.Request) -> _Stored | None:
        stored = self._stored.get(str(request.url), []) if request.method == "GET" else []
        return next((one for one in stored if _selecting(request, one.response) == one.asked), None)


def _directives(response: httpx.Response) -> list[str]:
    return [one.strip().lower() for one in response.headers.get("cache-control", "").split(",")]


def _may_store(request: httpx.Request, response: httpx.Response) -> bool:
    """Section 3: an answer to a request with a token only when it says public."""
    directives = _directives(response)
    forbidden = "no-store" in directives or "private" in directives
    return (
        request.method == "GET"
        and response.status_code == 200
        and not forbidden
        and ("authorization" not in request.headers or "public" in directives)
    )


def _age(response: httpx.Response) -> int:
    return next((int(one.removeprefix("max-age=")) for one in _directives(response) if one.startswith("max-age=")), 0)


def _selecting(request: httpx.Request, response: httpx.Response) -> dict[str, str | None]:
    names = [name.strip().lower() for name in response.headers.get("vary", "").split(",")]
    return {name: request.headers.get(name) for name in names if name}


def _answer(stored: _Stored, how: str) -> httpx.Response:
    headers = [*stored.response.headers.multi_items(), ("x-cache", how)]
    return httpx.Response(stored.response.status_code, headers=headers, content=stored.body)
