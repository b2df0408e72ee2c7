"""Training jobs over GraphQL: requested once, queried, paged."""

import pytest

from api.gateway import Gateway
from core.contract import Person
from core.settings import Lists
from db.jobs import AFFINITY, LEASE, LeaseLost, fail_job, heartbeat, lease_job, request_job
from tests.fixtures.gateway import Ask

REQUEST = """mutation ($reason: String) { requestTraining(reason: $reason) {
  job { nodeId id kind state reason requestedBy attempts modelId error } } }"""
JOB = "query ($id: ID!) { job(id: $id) { id state attempts error startedAt finishedAt } }"
JOBS = """query ($first: Int! = 20, $after: String) { jobs(first: $first, after: $after) {
  edges { cursor } nodes { id } pageInfo { hasNextPage endCursor } totalCount } }"""
NODE = "query ($id: ID!) { node(nodeId: $id) { nodeId ... on Job { state } } }"


async def test_a_training_is_requested_even_while_the_broker_is_unavailable(ask: Ask) -> None:
    job = (await ask(REQUEST, {"reason": "a new season"})).data["requestTraining"]["job"]
    assert (job["kind"], job["state"], job["reason"]) == ("affinity", "QUEUED", "a new season")
    assert (job["requestedBy"], job["attempts"], job["modelId"], job["error"]) == ("tests", 0, None, None)
    again = (await ask(REQUEST, person=Person("user", "ada"))).data["requestTraining"]["job"]
    assert again["id"] == job["id"]
    assert (await ask(NODE, {"id": job["nodeId"]})).data["node"] == {"nodeId": job["nodeId"], "state": "QUEUED"}


async def test_a_job_records_the_client_and_the_person(ask: Ask) -> None:
    job = (await ask(REQUEST, person=Person("user", "ada"))).data["requestTraining"]["job"]
    assert job["requestedBy"] == "tests for ada"


async def test_an_invalid_reason_is_refused(ask: Ask) -> None:
    for reason in ("", "a\x00", "x" * 501):
        assert (await ask(REQUEST, {"reason": reason})).codes == ["BAD_USER_INPUT"]


async def test_a_job_shows_its_state_until_it_ends(ask: Ask, gateway: Gateway) -> None:
    asked = await request_job(gateway.pool, AFFINITY, "new data", "ada")
    leased = await lease_job(gateway.pool, AFFINITY)
    assert leased
    running = (await ask(JOB, {"id": str(asked.id)})).data["job"]
    assert (running["state"], running["attempts"], running["finishedAt"]) == ("RUNNING", 1, None)
    await fail_job(gateway.pool, leased, "too little to learn from")
    failed = (await ask(JOB, {"id": str(asked.id)})).data["job"]
    assert (failed["state"], failed["error"]) == ("FAILED", "too little to learn from")
    assert failed["startedAt"] and failed["finishedAt"]


async def test_an_unknown_job_is_null(ask: Ask) -> None:
    for id in ("4711", "x", "9" * 30, "-1"):
        assert (await ask(JOB, {"id": id})).data == {"job": None}


PROGRESS = "query ($id: ID!) { job(id: $id) { progress { stage done of percent } } }"
CANCEL = """mutation ($id: ID!) { cancelJob(id: $id) { job { id state error finishedAt }
  userErrors { code field } } }"""


async def test_a_job_shows_how_far_its_training_is(ask: Ask, gateway: Gateway) -> None:
    asked = await request_job(gateway.pool, AFFINITY, "new data", "ada")
    assert (await ask(PROGRESS, {"id": str(asked.id)})).data["job"] == {"progress": None}
    leased = await lease_job(gateway.pool, AFFINITY)
    assert leased
    await heartbeat(gateway.pool, leased, LEASE, {"stage": "evaluating", "done": 500, "of": 2_000})
    assert (await ask(PROGRESS, {"id": str(asked.id)})).data["job"]["progress"] == {
        "stage": "evaluating", "done": 500, "of": 2_000, "percent": 25,
    }  # fmt: skip


async def test_a_job_is_cancelled_once_by_whoever_may_train(ask: Ask, gateway: Gateway) -> None:
    asked = await request_job(gateway.pool, AFFINITY, "new data", "ada")
    leased = await lease_job(gateway.pool, AFFINITY)
    assert leased
    variables = {"id": str(asked.id)}
    assert (await ask(CANCEL, variables, scopes=["models:read"])).codes == ["FORBIDDEN"]
    found = (await ask(CANCEL, variables, person=Person("user", "bob"))).data["cancelJob"]
    assert (found["job"]["state"], found["job"]["error"]) == ("CANCELLED", "cancelled by tests for bob")
    assert found["job"]["finishedAt"] and found["userErrors"] == []
    assert (await ask(CANCEL, variables)).data["cancelJob"] == found
    with pytest.raises(LeaseLost):
        await heartbeat(gateway.pool, leased)


async def test_a_job_that_ended_or_is_not_there_is_not_cancelled(ask: Ask, gateway: Gateway) -> None:
    asked = await request_job(gateway.pool, AFFINITY, "new data", "ada")
    leased = await lease_job(gateway.pool, AFFINITY)
    assert leased
    await fail_job(gateway.pool, leased, "too little to learn from")
    for id, code in ((str(asked.id), "JOB_ENDED"), ("4711", "BAD_USER_INPUT"), ("x", "BAD_USER_INPUT")):
        found = (await ask(CANCEL, {"id": id})).data["cancelJob"]
        assert found == {"job": None, "userErrors": [{"code": code, "field": ["id"]}]}


LISTS = """mutation ($input: RequestListsInput!) { requestLists(input: $input) { job { id kind state requestedBy
  listFile { placement first market format lists degraded modelId url } } } }"""


async def test_lists_are_requested_where_a_place_is_set(
    ask: Ask, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = {"placement": "mail", "first": 5, "format": "JSONL", "filter": {"categories": ["tea"]}}
    refused = await ask(LISTS, {"input": wanted})
    assert (refused.codes, refused.data) == (["BAD_USER_INPUT"], {"requestLists": None})
    monkeypatch.setitem(vars(gateway.settings), "lists", Lists(lists_url="/data/lists"))
    job = (await ask(LISTS, {"input": wanted})).data["requestLists"]["job"]
    assert (job["kind"], job["state"], job["requestedBy"]) == ("lists", "QUEUED", "tests")
    assert job["listFile"] == {
        "placement": "mail", "first": 5, "market": None, "format": "JSONL",
        "lists": 0, "degraded": 0, "modelId": None, "url": None,
    }  # fmt: skip
    assert (await ask(LISTS, {"input": wanted})).data["requestLists"]["job"]["id"] == job["id"]
    assert (await ask(LISTS, {"input": {"first": 0}})).codes == ["BAD_USER_INPUT"]
    assert (await ask(LISTS, {"input": {}}, scopes=["models:read", "recommendations:read"])).codes == ["FORBIDDEN"]


async def test_jobs_are_paged_newest_first(ask: Ask, gateway: Gateway) -> None:
    ids = [str((await request_job(gateway.pool, AFFINITY, "again", "ada")).id) for _ in range(3)]
    first = (await ask(JOBS, {"first": 2})).data["jobs"]
    assert first["pageInfo"]["hasNextPage"]
    rest = (await ask(JOBS, {"after": first["pageInfo"]["endCursor"]})).data["jobs"]
    assert [node["id"] for node in [*first["nodes"], *rest["nodes"]]] == ids[::-1]
    assert not rest["pageInfo"]["hasNextPage"]
    assert (first["totalCount"], rest["totalCount"]) == (3, 3)


async def test_jobs_need_their_scopes(ask: Ask) -> None:
    assert (await ask(REQUEST, scopes=["models:read"])).codes == ["FORBIDDEN"]
    for query, variables in ((JOBS, {}), (JOB, {"id": "1"})):
        assert (await ask(query, variables, scopes=["models:write"])).codes == ["FORBIDDEN"]
