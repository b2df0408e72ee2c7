"""Attacks by WebSockets: as many as a gateway lets in, that say who they are and then nothing."""

import asyncio
from contextlib import suppress
from typing import Final

from api.oauth.grant_types import TOKEN_EXCHANGE, USER_ID
from benchmarks.hostile_traffic import CLOSED, Send, Target, Traffic, status_of
from cli.gateway_client import Client

IDLE: Final = 5_000  # WebSockets, as many as a gateway has places for
OF_PERSON: Final = 50  # as many as a person may have
BEGINNING: Final = 32  # that open at a time: an address may have 100
BEGAN, OPEN = "began", "open"
_PROTOCOL = ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Protocol: graphql-transport-ws")
_UPGRADE = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: aWRsZSBhbmQgaWRsZSAhIQ==", *_PROTOCOL)


def _idle(target: Target) -> Send:
    """Authenticated WebSockets of a hundred people that send nothing more; one that is closed is not opened again."""
    client = Client(f"http://{target.host}:{target.port}", target.client, target.secret)
    tokens = [client.token(_person(user)) for user in target.users[: IDLE // OF_PERSON]]

    async def send(traffic: Traffic) -> None:
        beginning = asyncio.Semaphore(BEGINNING)
        waiting = (tokens[number // OF_PERSON % len(tokens)] for number in range(IDLE))
        await asyncio.gather(*(_wait(traffic, token, beginning) for token in waiting))

    return send


def _person(user: str) -> dict[str, str]:
    return {"grant_type": TOKEN_EXCHANGE, "subject_token": user, "subject_token_type": USER_ID}


async def _wait(traffic: Traffic, token: str, beginning: asyncio.Semaphore) -> None:
    """Open a WebSocket, say `connection_init`, and read until the attack is over."""
    ending = OPEN
    try:
        async with asyncio.timeout_at(traffic.deadline):
            async with beginning:
                wire = await traffic.opened()
                head = traffic.target.head("GET", "/graphql", f"Authorization: Bearer {token}", *_UPGRADE)
                wire.writer.write(head + b"\r\n")
                status = status_of(await wire.reader.readuntil(b"\r\n\r\n"))
                if status != "101":
                    traffic.answers[status] += 1
                    wire.close()
                    return
                wire.writer.write(text_frame(b'{"type":"connection_init"}'))
                await wire.reader.readuntil(b'"connection_ack"}')
                traffic.answers[BEGAN] += 1
            await wire.reader.read()
            ending = CLOSED
    except TimeoutError:
        pass
    except (OSError, asyncio.IncompleteReadError):
        ending = CLOSED
    traffic.answers[ending] += 1
    with suppress(UnboundLocalError):
        wire.close()


def text_frame(payload: bytes) -> bytes:
    """A whole text message of less than 126 bytes as a client sends it, masked with zeros (RFC 6455, 5.2)."""
    return bytes((0x81, 0x80 | len(payload))) + bytes(4) + payload


ATTACKS = {"http/websockets": _idle}
