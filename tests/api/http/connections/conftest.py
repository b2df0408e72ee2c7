"""The app, and the port where it answers."""

from collections.abc import AsyncIterator

import pytest
import uvicorn

from api.http.connections.idle import NewConnection
from api.http.guard import EdgeGuard
from tests.http_protocol import App, CountedProtocol
from tests.raw_http import DEADLINE, running


class CountedConnection(NewConnection):
    """As in the gateway: the counted protocol begins with the first bytes."""

    protocol = CountedProtocol


@pytest.fixture
def app() -> App:
    return App()


@pytest.fixture
async def port(app: App) -> AsyncIterator[int]:
    CountedProtocol.fed = CountedProtocol.kept = CountedProtocol.pipelined = CountedProtocol.refused = 0
    guarded = EdgeGuard(app, max_body=1_048_576, timeout=DEADLINE)
    config = uvicorn.Config(
        guarded, port=0, http=CountedConnection, ws="none", lifespan="off", log_config=None, proxy_headers=False
    )
    async with running(config) as number:
        yield number
