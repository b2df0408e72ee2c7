"""A document that is asked for often, and so has a plan, needs the same scopes as the first time."""

from api.gateway import Gateway
from api.graphql.planning.plans import _COMPILED_AT
from api.graphql.types.nodes import node_id_of
from core import clock
from db.items import upsert_items
from db.postgres import Pool
from tests.fixtures.gateway import Ask


async def test_a_node_needs_the_scope_of_its_type_however_often_it_is_asked_for(
    ask: Ask, gateway: Gateway, pool: Pool
) -> None:
    await upsert_items(pool, [{"id": "milk", "title": "Milk", "updated_at": clock.now()}])
    await gateway.catalogue.refresh()
    text = "query ($id: ID!) { node(nodeId: $id) { nodeId ... on Item { title } ... on User { id } } }"
    for _ in range(_COMPILED_AT + 2):
        for id in (node_id_of("Item", "milk"), node_id_of("User", "user:anna")):
            answer = await ask(text, {"id": id}, scopes=["events:write"])
            assert (answer.codes, answer.data) == (["FORBIDDEN"], {"node": None})
