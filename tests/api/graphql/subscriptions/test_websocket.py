"""/graphql over WebSocket: the protocol, who may connect, and what ends a connection."""

from tests.api.graphql.subscriptions.conftest import Connect, Serving


async def test_a_query_is_answered_as_over_http(gateway_at: Serving, connected: Connect) -> None:
    caller = await connected(token=await gateway_at.token())
    await caller.subscribe("1", "query($id: ID!) { item(id: $id) { id } }", variables={"id": "none"})
    assert await caller.next() == {"id": "1", "type": "next", "payload": {"data": {"item": None}}}
    assert await caller.next() == {"id": "1", "type": "complete"}
