"""`penchant gateway`: answers queries over HTTP."""

import asyncio
import os
import resource
import socket
from contextlib import ExitStack, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Annotated

import structlog
import typer

from cli.services.forked_processes import CANNOT_START, ForkedProcesses, Ready
from cli.services.memory import give_back_large_blocks
from cli.services.shared_metrics import shared_metrics
from cli.services.startup import read_settings
from core.errors import PenchantError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from core.settings import Settings
    from engine.catalogue.catalogue import Catalogue

log = structlog.get_logger()

OTHER_FILES = 200  # files of a process that are no connections of callers: stores, logs, bundles


def gateway(
    host: Annotated[str | None, typer.Option(help="Address to listen on; PENCHANT_HOST unless given.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; PENCHANT_PORT unless given.")] = None,
    processes: Annotated[
        int, typer.Option(min=1, max=128, help="How many processes answer on the one port; one per core is best.")
    ] = 1,
) -> None:
    """Answer queries until SIGTERM (requests that have begun are answered). Ends with 3 when it cannot start."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the arrays of one answer are small: more threads only wait
    give_back_large_blocks()
    with shared_metrics() if processes > 1 else nullcontext():
        _answer(host, port, processes)


def _answer(host: str | None, port: int | None, processes: int) -> None:
    from api.app import create_app

    settings = read_settings("stores", "gateway", "lists", "ingest", "tokens", "sign_in", "rates", "watching", "lake")
    where = host or settings.gateway.host, settings.gateway.port if port is None else port
    probe_port = settings.gateway.probe_port
    if processes == 1 and probe_port is None:
        _serve(create_app(settings), where)
        return
    with ExitStack() as stack:
        ports = [where[1], *([] if probe_port is None else [probe_port])]
        sockets = [stack.enter_context(_bound(where[0], each)) for each in ports]
        if processes == 1:
            _serve(create_app(settings), where, sockets)
            return
        served = partial(_serve, create_app(settings, _catalogue(settings)), where, sockets)
        raise typer.Exit(ForkedProcesses(processes, served, before_end=stack.close).run())


def _catalogue(settings: "Settings") -> "Catalogue":
    """The catalogue, loaded before the fork so that the processes share its memory: it is most of what each uses."""
    from api.app import load_catalogue

    try:
        return asyncio.run(load_catalogue(settings))
    except PenchantError as error:
        log.error("gateway_not_started", reason=str(error))
        raise typer.Exit(CANNOT_START) from error


def _serve(
    app: "ASGIApp", where: tuple[str, int], sockets: list[socket.socket] | None = None, ready: Ready | None = None
) -> None:
    """Answer until SIGTERM; `sockets` are bound already."""
    import uvicorn

    from api.http.connections.idle import NewConnection
    from api.http.connections.protocol import GatewayProtocol
    from api.http.connections.websockets import GatewayWebSocket
    from api.http.server import GatewayServer

    wanted = GatewayProtocol.max_connections + OTHER_FILES
    GatewayProtocol.max_connections = _allow_files(wanted) - OTHER_FILES
    config = uvicorn.Config(
        app,
        host=where[0],
        port=where[1],
        loop="uvloop",
        http=NewConnection,
        ws=GatewayWebSocket,
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
    )
    GatewayServer(config, ready).run(sockets)


def _allow_files(wanted: int) -> int:
    """Let this process open so many files and sockets, or as many as the system allows; how many those are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return allowed


def _bound(host: str, port: int) -> socket.socket:
    """A socket bound to the address; the first process that is ready listens on it."""
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
