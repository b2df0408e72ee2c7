"""Places for token requests: no client and no address takes them all."""

import asyncio
import threading
from typing import Any

import httpx
import pytest
from starlette.responses import Response

from api.oauth.authority import MAX_WAITING, Authority
from tests.api.oauth.test_token_endpoint import BASIC, OWN, SECRET, ask
from tests.faults import eventually
from tests.raw_http import DEADLINE


async def test_a_grant_that_is_not_issued_takes_no_place(
    http: httpx.AsyncClient, registered: Any, authority: Authority
) -> None:
    authority.unknown.taken = authority.known.taken = MAX_WAITING
    for form, error in (({"grant_type": "foo"}, "unsupported_grant_type"), ({}, "invalid_request")):
        for auth in (None, BASIC):
            answer = await ask(http, form, auth)
            assert (answer.status_code, answer.json()["error"]) == (400, error)


async def test_one_client_takes_a_quarter_of_the_places(
    http: httpx.AsyncClient, registered: Any, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("shop", "greedy"):
        await registered(name)
        assert (await ask(http, OWN, (name, SECRET))).status_code == 200
    release, answer = threading.Event(), authority.server.answer

    def answer_later(*arguments: Any) -> Response:
        assert release.wait(DEADLINE)
        return answer(*arguments)

    monkeypatch.setattr(authority.server, "answer", answer_later)
    flood = [asyncio.create_task(ask(http, OWN, ("greedy", SECRET))) for _ in range(100)]
    await eventually(lambda: sum(task.done() for task in flood) >= 100 - MAX_WAITING)  # the refused ones
    assert authority.known.taken == MAX_WAITING // 4
    honest = [asyncio.create_task(ask(http, OWN)) for _ in range(12)]
    await eventually(lambda: authority.known.taken >= MAX_WAITING // 2)  # the others wait for these
    release.set()
    assert [(await task).status_code for task in honest] == [200] * 12
    statuses = [(await task).status_code for task in flood]
    assert (statuses.count(200), statuses.count(503)) == (MAX_WAITING, 100 - MAX_WAITING)


async def test_unknown_secrets_of_one_address_take_a_quarter_of_the_places(
    http: httpx.AsyncClient, registered: Any, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    await registered()
    release, knows = threading.Event(), authority.server.knows

    def know_later(credentials: Any) -> bool:
        assert release.wait(DEADLINE)
        return knows(credentials)

    monkeypatch.setattr(authority.server, "knows", know_later)
    flood = [asyncio.create_task(ask(http, OWN, (f"nobody-{number}", "a-wrong-secret"))) for number in range(100)]
    await eventually(lambda: sum(task.done() for task in flood) >= 100 - MAX_WAITING)  # the refused ones
    assert authority.unknown.taken == MAX_WAITING // 4
    elsewhere = {"x-forwarded-for": "203.0.113.2"}
    honest = asyncio.create_task(http.post("/oauth/token", data=OWN, auth=BASIC, headers=elsewhere))
    await eventually(lambda: authority.unknown.taken != MAX_WAITING // 4)  # it has a place of its own
    release.set()
    assert (await honest).status_code == 200
    assert {(await task).status_code for task in flood} == {401, 503}


async def test_requests_without_a_secret_take_no_place_of_those_with_one(
    http: httpx.AsyncClient, registered: Any, app: Any, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    await registered()
    assert (await ask(http, OWN)).status_code == 200
    release, answer = threading.Event(), authority.server.answer

    def answer_later(endpoint: Any, form: Any, headers: Any) -> Response:
        assert "client_secret" in form or "authorization" in headers or release.wait(DEADLINE)
        return answer(endpoint, form, headers)

    monkeypatch.setattr(authority.server, "answer", answer_later)
    form = {"grant_type": "refresh_token", "client_id": "app", "refresh_token": "a.b"}
    flood = [
        asyncio.create_task(http.post("/oauth/token", data=form, headers={"x-forwarded-for": f"203.0.113.{number}"}))
        for number in range(100)
    ]
    await eventually(lambda: sum(task.done() for task in flood) >= 100 - MAX_WAITING)  # the refused ones
    assert authority.open.taken == MAX_WAITING
    assert [(await ask(http, OWN)).status_code for _ in range(3)] == [200] * 3
    release.set()
    statuses = [(await task).status_code for task in flood]
    assert (statuses.count(400), statuses.count(503)) == (MAX_WAITING, 100 - MAX_WAITING)
