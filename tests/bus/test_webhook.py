"""The webhook: signed as Standard Webhooks says, checked by its own library; no answer harms the sender."""

from base64 import b64decode
from collections.abc import AsyncIterator
from time import monotonic
from uuid import UUID, uuid4

import pytest
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from bus import webhook
from bus.webhook import Delivery, Webhook, webhook_client
from tests.webhook_receiver import HANG, KEY, OTHER_KEY, Receiver, receiving

BODY = b'{"type":"cache.purge"}'
ID = UUID("018f0000-0000-7000-8000-000000000001")


def key_of(secret: str) -> bytes:
    return b64decode(secret.removeprefix("whsec_"))


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as opened:
        yield opened


async def send(url: str, *secrets: str, id: UUID = ID) -> Delivery:
    async with webhook_client() as client:
        return await Webhook(client, url, [key_of(secret) for secret in secrets or (KEY,)]).send(id, BODY)


async def test_the_receiver_s_library_accepts_the_signature_and_no_other(receiver: Receiver) -> None:
    assert await send(receiver.url) == Delivery()
    (got,) = receiver.received
    assert (got.id, got.body, got.headers["content-type"]) == (str(ID), BODY, "application/json")
    assert Verifier(KEY).verify(got.body, got.headers) == {"type": "cache.purge"}
    for verifier, body, headers in (
        (OTHER_KEY, got.body, {}),
        (KEY, got.body + b" ", {}),
        (KEY, got.body, {"webhook-id": str(uuid4())}),
        (KEY, got.body, {"webhook-timestamp": str(int(got.headers["webhook-timestamp"]) + 1)}),
    ):
        with pytest.raises(WebhookVerificationError):
            Verifier(verifier).verify(body, got.headers | headers)


async def test_while_the_secret_is_changed_both_verify(receiver: Receiver) -> None:
    await send(receiver.url, OTHER_KEY, KEY)
    (got,) = receiver.received
    for secret in (KEY, OTHER_KEY):
        Verifier(secret).verify(got.body, got.headers)


@pytest.mark.parametrize(
    ("status", "again", "gone"),
    [
        (400, False, False),
        (401, False, False),
        (404, False, False),
        (410, False, True),
        (408, True, False),
        (425, True, False),
        (429, True, False),
        (500, True, False),
        (503, True, False),
    ],
)
async def test_only_some_failures_are_tried_again(receiver: Receiver, status: int, again: bool, gone: bool) -> None:
    receiver.will_answer(status)
    assert await send(receiver.url) == Delivery(f"The answer is {status}.", again, gone)


@pytest.mark.parametrize("status", [301, 304, 307])
async def test_a_redirect_is_tried_again_and_says_that_it_is_not_followed(receiver: Receiver, status: int) -> None:
    receiver.will_answer(status)
    assert await send(receiver.url) == Delivery(f"The answer is {status}, and no redirect is followed.", again=True)


async def test_a_client_that_is_kept_sends_no_cookies(receiver: Receiver) -> None:
    async with webhook_client() as client:
        webhook = Webhook(client, receiver.url, [key_of(KEY)])
        receiver.will_answer(b"HTTP/1.1 200 X\r\nset-cookie: a=b; Max-Age=600\r\ncontent-length: 0\r\n\r\n")
        assert [await webhook.send(uuid4(), BODY) for _ in range(2)] == [Delivery(), Delivery()]
        assert not any("cookie" in got.headers for got in receiver.received)
        assert len(client.cookies) == 0


@pytest.mark.parametrize("status", [200, 202, 204])
async def test_each_status_of_success_is_a_success(receiver: Receiver, status: int) -> None:
    receiver.will_answer(status)
    assert await send(receiver.url) == Delivery()


async def test_a_redirect_is_not_followed(receiver: Receiver) -> None:
    async with receiving() as elsewhere:
        for status in (b"302", b"307", b"308"):
            head = b"HTTP/1.1 %s X\r\nlocation: %s\r\ncontent-length: 0\r\n\r\n"
            receiver.will_answer(head % (status, elsewhere.url.encode()))
            assert (await send(receiver.url)).error is not None
        assert len(receiver.received) == 3
        assert elsewhere.received == []


@pytest.mark.parametrize(("asked", "seconds"), [("7", 7), ("999999", 999_999), ("9999999", 0), ("-1", 0), ("Mon", 0)])
async def test_the_receiver_may_say_when_to_try_again(receiver: Receiver, asked: str, seconds: float) -> None:
    receiver.will_answer(b"HTTP/1.1 503 X\r\nretry-after: %s\r\ncontent-length: 0\r\n\r\n" % asked.encode())
    assert (await send(receiver.url)).retry_after == seconds


@pytest.mark.parametrize(
    "answer",
    [
        HANG,
        b"HTTP/1.1 2",
        b"not HTTP\r\n\r\n",
        b"HTTP/1.1 99999 X\r\n\r\n",
        b"HTTP/1.1 200 X\r\n" + b"x: " + b"y" * 1_000_000,
        b"HTTP/1.1 200 X\r\n" + b"x: y\r\n" * 100_000,
    ],
    ids=["hangs", "half a head", "no HTTP", "odd status", "a long header", "many headers"],
)
async def test_an_answer_that_is_late_or_none_is_tried_again(
    receiver: Receiver, answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook, "TOTAL_TIMEOUT", 0.5)
    receiver.will_answer(answer)
    began = monotonic()
    delivery = await send(receiver.url)
    assert delivery.error is not None
    assert delivery.again
    assert monotonic() - began < 10


async def test_the_body_of_an_answer_is_not_read(receiver: Receiver) -> None:
    receiver.will_answer(b"HTTP/1.1 200 X\r\ncontent-length: 1000000000000\r\n\r\n" + b"x" * 1_000_000)
    assert await send(receiver.url) == Delivery()


async def test_a_receiver_that_is_away_is_tried_again() -> None:
    async with receiving() as receiver:
        url = receiver.url
    assert await send(url) == Delivery("ConnectError.", again=True)
