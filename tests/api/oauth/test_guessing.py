"""Guessing secrets: few guesses reach the hash, a guesser locks nobody out, and known clients go on meanwhile."""

import asyncio
from typing import Any

import httpx
import pytest

from api.oauth.authority import MAX_WAITING, Authority
from api.oauth.clients import guesses, secrets
from api.oauth.clients.guesses import MAX_FAILURES, FailureCounts, Guesses, TooManyGuesses
from db.postgres import Pool

RIGHT = "a-secret-of-the-client"
HERE, ELSEWHERE = "203.0.113.1", "203.0.113.2"


async def ask(
    http: httpx.AsyncClient, secret: str = RIGHT, client: str = "shop", address: str = HERE, *, posted: bool = False
) -> httpx.Response:
    form, headers = {"grant_type": "client_credentials"}, {"x-forwarded-for": address}
    if posted:
        return await http.post(
            "/oauth/token", data=form | {"client_id": client, "client_secret": secret}, headers=headers
        )
    return await http.post("/oauth/token", data=form, auth=(client, secret), headers=headers)


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The secrets that reached argon2."""
    found: list[str] = []
    matches = secrets._matches

    def noted(stored: str, secret: str) -> bool:
        found.append(secret)
        return matches(stored, secret)

    monkeypatch.setattr(secrets, "_matches", noted)
    return found


async def test_guesses_at_once_are_refused_before_the_hash(
    http: httpx.AsyncClient, registered: Any, hashed: list[str]
) -> None:
    await registered()
    answers = await asyncio.gather(*(ask(http, f"a-wrong-secret-{number}") for number in range(100)))
    assert [answer.status_code for answer in answers].count(401) == len(hashed) == MAX_FAILURES
    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(refused) == 100 - MAX_FAILURES
    assert {answer.json()["error"] for answer in refused} == {"slow_down"}
    assert all(0 < int(answer.headers["retry-after"]) <= 60 for answer in refused)
    assert {answer.headers["cache-control"] for answer in refused} == {"no-store"}


async def test_a_guesser_locks_nobody_out(http: httpx.AsyncClient, registered: Any, hashed: list[str]) -> None:
    await registered()
    await registered("other")
    assert (await ask(http, address=ELSEWHERE)).status_code == 200
    for number in range(MAX_FAILURES + 1):
        last = await ask(http, f"a-wrong-secret-{number}", posted=number % 2 == 0)
    assert last.status_code == 429
    assert (await ask(http, client="other")).status_code == 200  # another client behind the same address
    assert (await ask(http, address=ELSEWHERE)).status_code == 200
    assert (await ask(http)).status_code == 200  # at the guesser's address: its secret is remembered
    assert (await ask(http, "a-wrong-secret")).status_code == 429


async def test_a_client_that_never_authenticated_here_can_do_so_elsewhere(
    http: httpx.AsyncClient, registered: Any
) -> None:
    await registered()
    await asyncio.gather(*(ask(http, f"a-wrong-secret-{number}") for number in range(MAX_FAILURES)))
    assert (await ask(http)).status_code == 429
    assert (await ask(http, address=ELSEWHERE)).status_code == 200


async def test_unknown_clients_are_counted_too(http: httpx.AsyncClient, registered: Any, hashed: list[str]) -> None:
    answers = [await ask(http, f"a-wrong-secret-{number}", "nobody") for number in range(MAX_FAILURES + 5)]
    assert [answer.status_code for answer in answers] == [401] * MAX_FAILURES + [429] * 5
    assert len(hashed) == MAX_FAILURES


async def test_one_address_cannot_guess_for_ever_with_many_client_ids(
    http: httpx.AsyncClient, registered: Any, authority: Authority, hashed: list[str]
) -> None:
    authority.guesses._addresses = FailureCounts(15)
    answers = [await ask(http, "a-wrong-secret", f"nobody-{number}") for number in range(20)]
    assert [answer.status_code for answer in answers] == [401] * 15 + [429] * 5
    assert (await ask(http, "a-wrong-secret", "nobody-0", ELSEWHERE)).status_code == 401


async def test_one_address_with_many_failures_does_not_refuse_clients_that_are_familiar_there(
    http: httpx.AsyncClient, registered: Any, authority: Authority
) -> None:
    authority.guesses._addresses = FailureCounts(15)
    await registered()
    await registered("newcomer")
    assert (await ask(http)).status_code == 200
    for number in range(16):
        last = await ask(http, "a-wrong-secret", f"nobody-{number}")
    authority.server._secrets._good.clear()  # as if others had pushed the secret out
    assert (last.status_code, (await ask(http)).status_code) == (429, 200)
    assert (await ask(http, client="newcomer")).status_code == 429
    answers = [await ask(http, f"a-wrong-secret-{number}") for number in range(MAX_FAILURES + 1)]
    assert [answer.status_code for answer in answers] == [401] * MAX_FAILURES + [429]


async def test_a_secret_that_was_changed_makes_its_client_familiar_nowhere(
    http: httpx.AsyncClient, registered: Any, authority: Authority, pool: Pool
) -> None:
    await registered()
    assert (await ask(http, address=ELSEWHERE)).status_code == 200
    await pool.execute("UPDATE oauth_clients SET secret_hash = $1", secrets.hash_secret("a-new-secret-of-the-client"))
    assert (await ask(http)).status_code == 401
    assert not authority.guesses.is_familiar("shop", HERE)
    assert authority.guesses._pairs._counts.keys() == {("shop", HERE)}


async def test_ipv6_addresses_of_one_network_are_one_caller(
    http: httpx.AsyncClient, registered: Any, hashed: list[str]
) -> None:
    answers = [
        await ask(http, f"a-wrong-secret-{number}", address=f"2001:db8::{number:x}")
        for number in range(MAX_FAILURES + 1)
    ]
    assert answers[-1].status_code == 429


async def test_a_header_of_the_guesser_makes_no_new_address(http: httpx.AsyncClient, registered: Any) -> None:
    await registered()
    for number in range(MAX_FAILURES):
        await ask(http, f"a-wrong-secret-{number}", address=f"198.51.100.{number}, {HERE}")
    assert (await ask(http, "a-wrong-secret")).status_code == 429


async def test_many_requests_with_one_right_secret_are_one_check(
    http: httpx.AsyncClient, registered: Any, hashed: list[str]
) -> None:
    await registered()
    answers = await asyncio.gather(*(ask(http) for _ in range(30)))
    assert [answer.status_code for answer in answers] == [200] * 30
    assert hashed == [RIGHT]


async def test_while_guesses_fill_their_queue_known_clients_go_on(
    http: httpx.AsyncClient, registered: Any, authority: Authority, pool: Pool
) -> None:
    await registered()
    await registered("newcomer")
    assert (await ask(http)).status_code == 200
    authority.unknown.taken = MAX_WAITING
    flood = [ask(http, "a-wrong-secret", f"nobody-{number}", f"198.51.{number}.1") for number in range(200)]
    answers = await asyncio.gather(*flood, *(ask(http) for _ in range(20)))
    assert {answer.status_code for answer in answers[:200]} == {503}
    assert {answer.status_code for answer in answers[200:]} == {200}
    assert (await ask(http, client="newcomer")).status_code == 503
    await pool.execute("UPDATE oauth_clients SET secret_hash = $1", secrets.hash_secret("a-new-secret-of-the-client"))
    assert (await ask(http)).status_code == 401  # the old secret
    assert (await ask(http, "a-new-secret-of-the-client")).status_code == 200  # the client is familiar at this address
    authority.unknown.taken = 0
    assert (await ask(http, "a-wrong-secret", "nobody-1", "198.51.1.1")).status_code == 401  # overload is no failure


async def test_a_secret_that_was_changed_counts_as_a_guess(
    http: httpx.AsyncClient, registered: Any, pool: Pool, hashed: list[str]
) -> None:
    await registered()
    await ask(http)
    await pool.execute("UPDATE oauth_clients SET secret_hash = $1", secrets.hash_secret("a-new-secret-of-the-client"))
    statuses = [(await ask(http)).status_code for _ in range(MAX_FAILURES + 3)]
    assert statuses == [401] * MAX_FAILURES + [429] * 3


async def test_without_postgres_no_attempt_counts_as_failed(
    http: httpx.AsyncClient, registered: Any, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    await registered()
    authority.server._pool._pool.close()  # every query fails from now on
    for _ in range(MAX_FAILURES + 2):
        assert (await ask(http)).status_code == 503
    assert authority.guesses._pairs._counts == {}


async def test_an_id_that_can_be_no_clients_is_refused_without_a_hash(
    http: httpx.AsyncClient, hashed: list[str]
) -> None:
    for client in ("x" * 129, "no body", "é", "a\x01b", ""):
        assert (await ask(http, client=client)).status_code == 401
    assert hashed == []


def test_a_window_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(guesses, "monotonic", lambda: now)
    counted = Guesses()
    for _ in range(MAX_FAILURES):
        counted.begin("shop", HERE)
    now += 20
    with pytest.raises(TooManyGuesses) as refused:
        counted.begin("shop", HERE)
    assert refused.value.retry_after == 40
    now += 40
    counted.begin("shop", HERE)


def test_the_table_is_bounded_and_forgets_what_is_over_first(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(guesses, "monotonic", lambda: now)
    monkeypatch.setattr(guesses, "MAX_COUNTED", 100)
    counts = FailureCounts(1)
    for number in range(50):
        counts.add(number, 1)
    now += guesses.WINDOW
    for number in range(1000, 1100):
        counts.add(number, 1)
    assert counts._counts.keys() == set(range(1000, 1100))
    counts.add("one more", 1)
    assert len(counts._counts) == 100


def test_attempts_that_did_not_fail_leave_nothing_behind() -> None:
    counted = Guesses()
    for number in range(100):
        counted.begin(f"client-{number}", HERE)
        counted.end(f"client-{number}", HERE)
    assert counted._pairs._counts == counted._addresses._counts == {}
