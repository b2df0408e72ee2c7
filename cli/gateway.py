"""`penchant gateway`: answers over HTTP."""

import asyncio
import os
import socket
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Annotated

import structlog
import typer

from cli.numbers import shared_numbers
from cli.siblings import CANNOT_START, Ready, Siblings
from core.errors import PenchantError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from core.settings import Settings
    from engine.catalogue.catalogue import Catalogue

log = structlog.get_logger()


def gateway(
    host: Annotated[str | None, typer.Option(help="Address to listen on; PENCHANT_HOST unless given.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; PENCHANT_PORT unless given.")] = None,
    processes: Annotated[
        int, typer.Option(min=1, max=128, help="Processes that answer side by side on the one port: one per core.")
    ] = 1,
) -> None:
    """Answer queries until it is told to stop (SIGTERM: finish what was begun). Ends with 3 when it cannot start."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # one answer's arrays are small: more threads only wait
    with shared_numbers() if processes > 1 else nullcontext():
        _answer(host, port, processes)


def _answer(host: str | None, port: int | None, processes: int) -> None:
    from api.app import create_app
    from core.logs import configure_logs
    from core.settings import Settings

    settings = Settings()
    configure_logs(settings.logging.log_level, json=settings.logging.log_json)
    where = host or settings.gateway.host, settings.gateway.port if port is None else port
    if processes == 1:
        _serve(create_app(settings), where)
        return
    with _bound(*where) as address:
        served = partial(_serve, create_app(settings, _catalogue(settings)), where, [address])
        raise typer.Exit(Siblings(processes, served, before_end=address.close).run())


def _catalogue(settings: "Settings") -> "Catalogue":
    """What the processes share, read before they are forked: by far the most of what each would hold."""
    from api.app import load_catalogue

    try:
        return asyncio.run(load_catalogue(settings))
    except PenchantError as error:
        log.error("gateway_not_started", reason=str(error))
        raise typer.Exit(CANNOT_START) from error


def _serve(
    app: "ASGIApp", where: tuple[str, int], sockets: list[socket.socket] | None = None, ready: Ready | None = None
) -> None:
    """Answer until told to stop; `sockets` are bound already."""
    import uvicorn

    from api.http.protocol import TimedProtocol
    from api.http.server import GatewayServer

    config = uvicorn.Config(
        app,
        host=where[0],
        port=where[1],
        loop="uvloop",
        http=TimedProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
    )
    GatewayServer(config, ready).run(sockets)


def _bound(host: str, port: int) -> socket.socket:
    """A socket at the address, on which the first process that is ready will listen."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        log.error("gateway_not_started", reason=f"{host}:{port} cannot be used: {error.strerror}")
        raise typer.Exit(CANNOT_START) from error
    log.info("gateway_bound", host=host, port=bound.getsockname()[1])
    return bound
