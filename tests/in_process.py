"""A whole gateway without a socket, on the tests' stores, and an HTTP client of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from starlette.types import Receive, Scope, Send

from api.app import create_app
from core.settings import Gateway, Ingest, Settings, Stores, Tokens

BASE = "http://shop.example"


class Configured(Settings):
    """Settings with the stores of a test."""

    def __init__(self, stores: Stores) -> None:
        self.stores = stores
        self.gateway = Gateway.model_validate({"public_url": BASE, "secret": "s" * 32})
        self.ingest = Ingest.model_validate({})
        self.tokens = Tokens.model_validate({})


@asynccontextmanager
async def asked(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client of a gateway that starts and stops as in production."""
    app = create_app(settings)
    async with app.router.lifespan_context(app) as state:

        async def with_state(scope: Scope, receive: Receive, send: Send) -> None:
            scope["state"] = dict(state or {})
            await app(scope, receive, send)

        async with httpx.AsyncClient(transport=httpx.ASGITransport(with_state), base_url=BASE) as client:
            yield client
