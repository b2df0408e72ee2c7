"""Decides which text a request runs: the one it sends, or the persisted one that it names."""

from typing import Final, NamedTuple

from api.errors import STORE_AWAY, RequestRefused
from api.graphql.request.parsing import MAX_BYTES
from api.graphql.request.persisted.store import ClientDocuments
from api.graphql.request.reading import GraphQLRequest
from core.errors import StoreUnavailable
from core.stores import log_unavailable
from db.documents import digest_of
from engine.viewer import Viewer

NOT_FOUND: Final = "PersistedQueryNotFound"  # the messages that Apollo's clients know
NOT_SUPPORTED: Final = "PersistedQueryNotSupported"


class Source(NamedTuple):
    """The text to run. `trusted`: the id of the trusted document that it is. `registered`: the id to keep it under."""

    text: str
    trusted: str | None = None
    registered: str | None = None


async def source_of(request: GraphQLRequest, viewer: Viewer, documents: ClientDocuments | None) -> Source:
    """The text that a request runs. Without `documents` there are no persisted ones.

    Raises RequestRefused: PERSISTED_QUERY_NOT_FOUND for an unknown id, PERSISTED_QUERY_REQUIRED for a text of a client
    that may send none, 400 for a text and a hash that differ, 503 while Postgres is away. Raises RateLimited.
    """
    try:
        if request.query is not None:
            return await _of_text(request, request.query, viewer, documents)
        return await _of_id(request, viewer, documents)
    except StoreUnavailable as error:
        log_unavailable(error, doing="find a document")
        raise RequestRefused("SERVICE_UNAVAILABLE", STORE_AWAY, 503) from None


async def _of_text(request: GraphQLRequest, text: str, viewer: Viewer, documents: ClientDocuments | None) -> Source:
    if documents is not None and await documents.required(viewer.client_id):
        raise RequestRefused("PERSISTED_QUERY_REQUIRED", "This client may only run its trusted documents, by id.", 403)
    if request.document_id is None or len(text) > MAX_BYTES:  # one so long is refused
        return Source(text)
    if request.document_id != digest_of(text).hex():
        message = "extensions.persistedQuery.sha256Hash is not the SHA-256 of query."
        raise RequestRefused("BAD_REQUEST", message, 400)
    return Source(text, registered=request.document_id)


async def _of_id(request: GraphQLRequest, viewer: Viewer, documents: ClientDocuments | None) -> Source:
    assert request.document_id is not None
    if documents is None:
        raise RequestRefused("PERSISTED_QUERY_NOT_SUPPORTED", NOT_SUPPORTED)
    found = await documents.find(viewer, request.document_id)
    if found is None:
        raise RequestRefused("PERSISTED_QUERY_NOT_FOUND", NOT_FOUND, 200)
    return Source(found.text, trusted=found.id if found.trusted else None)
