"""Answers that everybody may keep: those of trusted documents with public fields alone, by GET, without errors."""

from base64 import urlsafe_b64encode
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, NamedTuple

from api.graphql.cache_policy import CachePolicy
from api.graphql.request.documents import Operation
from api.graphql.request.persisted.texts import Source
from api.graphql.request.reading import GraphQLRequest
from api.http.endpoint import Header, Headers
from core.contract import Person
from core.surrogate_keys import CATALOGUE, ITEMS, MANY_ITEMS, TRENDING, item_key
from engine.viewer import Viewer

MAX_KEYS: Final = 200  # items that an answer names in Surrogate-Key
MAX_KEY_BYTES: Final = 4_000  # of all of them together: Fastly takes 16 kB of headers, Varnish 8 kB of one
LISTS: Final = {"trending": TRENDING, "items": ITEMS}  # the key of a root field that lists items


@dataclass(frozen=True, slots=True)
class PublicViewer(Viewer):
    """A viewer whose answer everybody may get, so it has no person. `payer` is whose bounds its work counts against."""

    payer: tuple[str, Person | None]

    @property
    def caller(self) -> tuple[str, Person | None]:
        """The caller who waits for it."""
        return self.payer


def public_policy(request: GraphQLRequest, source: Source | None, operation: Operation) -> CachePolicy | None:
    """The policy of a GET request whose answer everybody may get; None for any other.

    It must name its document by the SHA-256: other ids are of one client, and name other documents for others.
    """
    by_digest = source is not None and source.trusted is not None and request.document_id == source.trusted
    return operation.cache_policy if by_digest else None


def without_person(viewer: Viewer) -> Viewer:
    """The same viewer without the person of the token: what no resolver knows, no public answer can hold."""
    if viewer.person is None:
        return viewer
    return PublicViewer(viewer.client_id, viewer.scopes, None, viewer.expires_at, viewer.caller)


class PublicHeaders(list[Header]):
    """The headers of an answer that caches may keep."""

    def are_those_of(self, headers: Headers) -> bool:
        """Whether If-None-Match in `headers` names the ETag: the caller has the answer already."""
        wanted = headers.get(b"if-none-match", b"").strip()
        return wanted == b"*" or dict(self)[b"etag"] in {one.strip().removeprefix(b"W/") for one in wanted.split(b",")}


class Keeping(NamedTuple):
    """How long everybody may keep an answer, and `items`: the ids of the items that it depends on."""

    policy: CachePolicy
    items: Collection[str]

    def allows(self, status: int, answer: Mapping[str, Any], body: bytes) -> bool:
        """Whether caches may keep this answer: errors are never kept, nor is `body` when it is one in its place."""
        return status == 200 and "errors" not in answer and body.startswith(b'{"data":')

    def headers(self, content_type: bytes, body: bytes) -> PublicHeaders:
        """The headers of an answer without errors."""
        tag = urlsafe_b64encode(sha256(content_type + b"\n" + body).digest()[:18])
        return PublicHeaders(
            [
                (b"cache-control", b"public, max-age=%d" % self.policy.max_age),
                (b"etag", b'"' + tag + b'"'),
                (b"vary", b"Accept"),
                (b"surrogate-key", " ".join(_surrogate_keys(self.policy, self.items)).encode()),
            ]
        )


def _surrogate_keys(policy: CachePolicy, items: Iterable[str]) -> list[str]:
    """The keys by which a cache drops the answer: one for each item, or one for the answers with too many."""
    keys = [CATALOGUE, *(key for root, key in LISTS.items() if root in policy.roots)]
    named: list[str] = []
    size = 0
    for id in items:
        key = item_key(id)
        size += len(key) + 1
        if len(named) >= MAX_KEYS or size > MAX_KEY_BYTES:
            return [*keys, MANY_ITEMS]
        named.append(key)
    return keys + named
