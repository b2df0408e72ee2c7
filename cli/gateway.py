"""`penchant gateway`: answers over HTTP."""

from typing import Annotated

import typer


def gateway(
    host: Annotated[str | None, typer.Option(help="Address to listen on; PENCHANT_HOST unless given.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; PENCHANT_PORT unless given.")] = None,
) -> None:
    """Answer queries until it is told to stop (SIGTERM: finish what was begun). Ends with 3 when it cannot start."""
    import uvicorn

    from api.app import create_app
    from api.protocol import TimedProtocol
    from core.logs import configure_logs
    from core.settings import Settings

    settings = Settings()
    configure_logs(settings.logging.log_level, json=settings.logging.log_json)
    config = uvicorn.Config(
        create_app(settings),
        host=host or settings.gateway.host,
        port=settings.gateway.port if port is None else port,
        loop="uvloop",
        http=TimedProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=10,
    )
    uvicorn.Server(config).run()
