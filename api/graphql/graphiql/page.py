"""GraphiQL: one page and its two files, nothing from other hosts. The access token is kept in the page only."""

from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Final

from starlette.types import Receive, Scope, Send

from api.http.endpoint import send_answer

FOLDER: Final = Path(__file__).parent
SCRIPT, STYLE = "/graphiql/page.js", "/graphiql/page.css"
POLICY: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; font-src 'none'; connect-src 'self';"
    b" form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
)
_FOREVER: Final = (b"cache-control", b"public, max-age=31536000, immutable")  # the page names files with their digest
_NO_SNIFF: Final = (b"x-content-type-options", b"nosniff")


class GraphiQLFile:
    """An ASGI app that answers with one of the two files, read when it is asked for first."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._kind = b"text/javascript" if path == SCRIPT else b"text/css"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer any GET."""
        await send({"type": "http.response.start", "status": 200, "headers": self._headers(scope)})
        body = b"" if scope["method"] == "HEAD" else content(self._path)
        await send({"type": "http.response.body", "body": body})

    def _headers(self, scope: Scope) -> list[tuple[bytes, bytes]]:
        length = str(len(content(self._path))).encode()
        kind = self._kind + b"; charset=utf-8"
        return [(b"content-type", kind), (b"content-length", length), _FOREVER, _NO_SNIFF]


@cache
def content(path: str) -> bytes:
    """One of the two files. In the folder the script is in pieces, because no file in git is over 500 kB."""
    if path == STYLE:
        return (FOLDER / "page.css").read_bytes()
    return b"".join(piece.read_bytes() for piece in sorted(FOLDER.glob("page.*.js")))


@cache
def page() -> bytes:
    """The page."""
    script, style = (f"{path}?{sha256(content(path)).hexdigest()[:16]}" for path in (SCRIPT, STYLE))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>GraphiQL · Penchant</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="{style}">
<script src="{script}" defer></script>
</head>
<body><div id="page"></div></body>
</html>
""".encode()


async def send_page(send: Send) -> None:
    """Answer with the page."""
    extra = [(b"content-security-policy", POLICY), _NO_SNIFF, (b"referrer-policy", b"no-referrer")]
    await send_answer(send, 200, b"text/html; charset=utf-8", page(), extra)
