"""Sends a message to a receiver by HTTP, signed as Standard Webhooks 1.0 says, with bounds on everything.

No redirect is followed, a proxy of the environment is not used, and the body of the answer is not read.
"""

import asyncio
import hmac
import ssl
from base64 import b64encode
from collections.abc import Sequence
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final, NamedTuple
from uuid import UUID

import httpx

from core import clock

CONNECTIONS: Final = 2  # open at a time
CONNECT_TIMEOUT: Final = 2.0  # seconds
TOTAL_TIMEOUT: Final = 5.0  # seconds, until the head of the answer is there
RETRIED: Final = frozenset({408, 425, 429})  # with every status from 500 on


class Delivery(NamedTuple):
    """What became of one attempt. `error` is None when the receiver took the message.

    `again`: another attempt may succeed. `gone`: the receiver wants no more messages. `retry_after` is what it
    asked for, in seconds.
    """

    error: str | None = None
    again: bool = False
    gone: bool = False
    retry_after: float = 0.0


class Webhook:
    """A receiver. `keys` sign each message, the newest first."""

    def __init__(self, client: httpx.AsyncClient, url: str, keys: Sequence[bytes]) -> None:
        self._client, self._url, self._keys = client, url, keys

    async def send(self, id: UUID, body: bytes) -> Delivery:
        """Send a message once. The same message has the same `id` at each attempt."""
        headers = signed_headers(str(id), int(clock.now().timestamp()), body, self._keys)
        try:
            async with (
                asyncio.timeout(TOTAL_TIMEOUT),
                self._client.stream("POST", self._url, content=body, headers=headers) as answer,
            ):
                return _judged(answer)
        except TimeoutError:
            return Delivery(f"No answer within {TOTAL_TIMEOUT:g} seconds.", again=True)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, UnicodeError) as error:
            return Delivery(f"{type(error).__name__}.", again=True)


def webhook_client() -> httpx.AsyncClient:
    """The HTTP client for all messages of a process. It keeps no cookies, and opens nothing until it is used."""
    return httpx.AsyncClient(
        verify=_trusted(),
        timeout=httpx.Timeout(TOTAL_TIMEOUT, connect=CONNECT_TIMEOUT),
        limits=httpx.Limits(max_connections=CONNECTIONS),
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        follow_redirects=False,
        trust_env=False,
    )


def signed_headers(id: str, at: int, body: bytes, keys: Sequence[bytes]) -> dict[str, str]:
    """The headers of a message that is sent at `at`, in Unix seconds: a signature by each key."""
    signed = b"%s.%d.%s" % (id.encode(), at, body)
    signatures = (b64encode(hmac.digest(key, signed, "sha256")).decode() for key in keys)
    return {
        "content-type": "application/json",
        "user-agent": "Penchant",
        "webhook-id": id,
        "webhook-timestamp": str(at),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }


def _judged(answer: httpx.Response) -> Delivery:
    status = answer.status_code
    if 200 <= status < 300:
        return Delivery()
    if status < 400:  # perhaps the receiver moves just now; if it has moved, the operator reads this
        return Delivery(f"The answer is {status}, and no redirect is followed.", again=True)
    asked = answer.headers.get("retry-after", "")
    retry_after = float(asked) if asked.isascii() and asked.isdigit() and len(asked) < 7 else 0.0
    return Delivery(f"The answer is {status}.", status >= 500 or status in RETRIED, status == 410, retry_after)


@cache
def _trusted() -> ssl.SSLContext:
    """The certificate authorities: those of `SSL_CERT_FILE` or `SSL_CERT_DIR` when set, else those of Mozilla."""
    return httpx.create_ssl_context()
