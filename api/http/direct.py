"""Gives the requests of one path to their endpoint, past Starlette's router."""

from starlette.types import ASGIApp, Receive, Scope, Send


class Direct:
    """Pure ASGI middleware: gives requests to one path to its endpoint, which answers every failure itself.

    Starlette's router and its handlers of exceptions would cost as much as to verify the token and to take the units.
    """

    def __init__(self, app: ASGIApp, *, path: str, endpoint: ASGIApp) -> None:
        self._app, self._path, self._endpoint = app, path, endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        direct = scope["type"] == "http" and scope["path"] == self._path
        await (self._endpoint if direct else self._app)(scope, receive, send)
