"""Requests that wait on their connection: they start in turn, or not at all when their caller has left."""

import asyncio
import gc
import socket
import weakref
from collections.abc import Hashable
from functools import partial

import pytest
from starlette.types import Receive, Scope, Send

from api.http.connections import protocol, turns
from api.http.connections.protocol import MAX_UNPARSED, GatewayProtocol
from api.http.connections.turns import Lane
from tests.faults import eventually
from tests.http_protocol import CLOSE, GET, LARGEST_READ, MEGABYTE, App, CountedProtocol
from tests.raw_http import DEADLINE, exchange, status


async def test_pipelined_requests_are_answered_in_order_and_wait_unparsed(port: int, app: App) -> None:
    app.may_answer.clear()
    bare = b"POST /%d HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n%s\r\nx"
    sent = b"".join(bare % (number, b"" if number < 1999 else CLOSE) for number in range(2000))
    asking = asyncio.create_task(exchange(port, sent))
    await eventually(lambda: CountedProtocol.kept > 0)  # the protocol has no event for it
    assert len(app.asked) == 1
    assert CountedProtocol.kept <= MAX_UNPARSED + LARGEST_READ
    assert CountedProtocol.pipelined <= 1
    app.may_answer.set()
    answer = await asking
    answers = [part.rpartition(b"\r\n\r\n")[2] for part in answer.split(b"HTTP/1.1 200 OK")][1:]
    assert answers == [b"/%d 1;" % number for number in range(2000)]


async def test_what_waits_unparsed_has_a_bound_for_all_connections_together(
    port: int, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "MAX_UNPARSED_IN_ALL", 3 * MAX_UNPARSED)
    app.may_answer.clear()
    asking = [asyncio.create_task(exchange(port, (GET + b"\r\n") * 800, GET, CLOSE, b"\r\n")) for _ in range(8)]
    await eventually(lambda: CountedProtocol.refused >= 5)  # the protocol has no event for it
    assert GatewayProtocol._unparsed_in_all <= 3 * MAX_UNPARSED
    app.may_answer.set()
    answers = await asyncio.gather(*asking)
    refused = [answer for answer in answers if b"HTTP/1.1 503 " in answer]
    assert len(refused) == CountedProtocol.refused
    assert all(b"Too many requests wait behind others" in answer for answer in refused)
    assert {answer.count(b"200 OK") for answer in answers if answer not in refused} <= {801}
    assert sum(answer.count(b"200 OK") for answer in answers) == len(app.asked)  # what had started is answered
    assert GatewayProtocol._unparsed_in_all == 0
    assert status(await exchange(port, GET, CLOSE, b"\r\n")) == 200


async def test_an_app_learns_that_its_caller_left_although_bytes_wait_behind_the_request(port: int, app: App) -> None:
    asked, left = asyncio.Event(), asyncio.Event()

    async def wait(scope: Scope, receive: Receive, send: Send) -> None:
        asked.set()
        while (await receive())["type"] != "http.disconnect":
            continue
        left.set()

    app.answer = wait
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    request = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
    async with asyncio.timeout(DEADLINE):
        writer.write(request + b"x" * (MAX_UNPARSED // 2))
        await asked.wait()
        writer.transport.abort()
        await left.wait()  # although something waits unparsed


async def test_a_request_whose_caller_has_left_is_not_run(port: int, app: App) -> None:
    for _ in range(10):  # fewer than connections are allowed
        with socket.create_connection(("127.0.0.1", port)) as caller:
            caller.sendall(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx")
    assert status(await exchange(port, GET, CLOSE, b"\r\n")) == 200
    assert [scope["path"] for scope in app.asked] == ["/first"]


@pytest.mark.parametrize(
    ("sent", "lane"),
    [
        (GET + b"\r\n", Lane.OTHER),
        (b"GET /readyz HTTP/1.1\r\nhost: a\r\n\r\n", Lane.PROBE),
        (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc", Lane.OTHER),
        (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabcG", Lane.FOLLOWED),
        (GET + b"\r\n" + GET + b"\r\n", Lane.FOLLOWED),
        (b"GET /readyz HTTP/1.1\r\nhost: a\r\n\r\n" * 2, Lane.FOLLOWED),
    ],
)
async def test_a_request_with_bytes_behind_it_waits_in_a_lane_of_its_own(
    port: int, app: App, sent: bytes, lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    lanes, start = list[Lane](), turns.Turns.start

    def noted(self: turns.Turns, lane: Lane, caller: Hashable, starts: turns.Start) -> None:
        lanes.append(lane)
        start(self, lane, caller, starts)

    monkeypatch.setattr(turns.Turns, "start", noted)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    await reader.readuntil(b";")
    assert lanes[0] is lane
    writer.close()


async def test_a_connection_is_not_closed_as_idle_when_a_request_has_come_that_was_not_read_yet(port: int) -> None:
    loop = asyncio.get_running_loop()
    with socket.create_connection(("127.0.0.1", port)) as caller:
        caller.setblocking(False)
        for _ in range(2):
            caller.send(GET + b"\r\n")
            if CountedProtocol.fed:
                CountedProtocol.last.timeout_keep_alive_handler()  # the time is over before the loop has read
            async with asyncio.timeout(DEADLINE):
                assert status(await loop.sock_recv(caller, 65_536)) == 200


@pytest.mark.parametrize("waits", [True, False])
async def test_a_closed_connection_is_freed_without_a_garbage_collection(port: int, app: App, waits: bool) -> None:
    gc.disable()
    try:
        if waits:  # they leave before their requests start, which is one at a time
            for _ in range(10):
                with socket.create_connection(("127.0.0.1", port)) as caller:
                    caller.sendall((GET + b"\r\n") * 2)
            await eventually(partial(fed, 10))
            assert len(app.asked) < 10
        else:
            assert status(await exchange(port, GET, CLOSE, b"\r\n")) == 200
        seen = weakref.ref(CountedProtocol.last)
        del CountedProtocol.last
        await eventually(partial(gone, seen))
    finally:
        gc.enable()


async def test_more_requests_than_may_wait_are_refused(port: int, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "MAX_WAITING", 2)
    callers = [await asyncio.open_connection("127.0.0.1", port) for _ in range(5)]
    for _, writer in callers:
        writer.write(GET + CLOSE + b"\r\n")
    async with asyncio.timeout(DEADLINE):
        answers = [await reader.read() for reader, _ in callers]
    assert sorted(map(status, answers)) == [200, 200, 503, 503, 503]
    assert len(app.asked) == 2
    for _, writer in callers:
        writer.close()


async def test_a_request_that_waited_is_not_closed_as_idle(port: int, app: App) -> None:
    answers = asyncio.Semaphore(0)

    async def answer_when_told(scope: Scope, receive: Receive, send: Send) -> None:
        app.asked.append(scope)
        await answers.acquire()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]})
        await send({"type": "http.response.body", "body": b";"})

    app.answer = answer_when_told
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(GET + b"\r\n")
    await eventually(lambda: asked(app, 1))
    writer.write(GET + b"\r\n")
    await eventually(some_unparsed)
    answers.release()
    await reader.readuntil(b";")
    await eventually(lambda: asked(app, 2))
    assert CountedProtocol.last.timeout_keep_alive_task is None
    answers.release()
    await reader.readuntil(b";")
    writer.close()


async def test_a_caller_that_does_not_read_its_answer_is_closed(port: int, app: App) -> None:
    async def send_much(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"100000000")]})
        for _ in range(100):
            await send({"type": "http.response.body", "body": MEGABYTE, "more_body": True})

    app.answer = send_much
    _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
    writer.write(GET + b"\r\n")

    async def closed() -> bool:
        return CountedProtocol.last.transport.is_closing()

    await eventually(closed, DEADLINE)
    writer.close()


async def asked(app: App, count: int) -> bool:
    return len(app.asked) == count


async def gone(seen: weakref.ref[CountedProtocol]) -> bool:
    return seen() is None


async def fed(requests: int) -> bool:
    return CountedProtocol.fed >= requests * len(GET + b"\r\n")


async def some_unparsed() -> bool:
    return CountedProtocol.kept > 0
