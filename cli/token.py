"""`penchant token`: asks the token endpoint for an access token and prints it, bare."""

import base64
import ipaddress
import json
import sys
from getpass import getpass
from typing import Annotated, Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote_plus, urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, ProxyHandler, Request, build_opener

import typer

from api.oauth.grant_types import ANONYMOUS_ID, CLIENT_CREDENTIALS, TOKEN_EXCHANGE, USER_ID
from cli.checkout import read_demo
from core.secret_files import read_secret

REFUSED, USAGE, UNREACHABLE = 1, 2, 3  # how the program ends
TIMEOUT = 10.0  # seconds


def token(
    client: Annotated[str | None, typer.Option(help="Client id; by default the demo's.")] = None,
    user: Annotated[str | None, typer.Option(help="A token of this user, by the shop's own id.")] = None,
    guest: Annotated[str | None, typer.Option(help="A token of this guest, by anonymous id.")] = None,
    scope: Annotated[str | None, typer.Option(help="Scopes, separated by spaces; by default all it may have.")] = None,
    url: Annotated[str | None, typer.Option(help="Base URL of the gateway.", envvar="PENCHANT_PUBLIC_URL")] = None,
    secret_stdin: Annotated[bool, typer.Option("--secret-stdin", help="Read the secret from standard input.")] = False,
) -> None:
    """Print an access token of a client, or of one of its people.

    The secret comes from standard input, PENCHANT_CLIENT_SECRET, the demo's file, or a prompt.
    """
    demo = read_demo() or {}
    if user is not None and guest is not None:
        raise _failed("--user and --guest exclude each other.", USAGE)
    client_id, base = client or demo.get("client_id"), url or demo.get("base_url")
    if not client_id or not base:
        raise _failed("Say --client and --url, or run this beside `penchant up` or the demo.", USAGE)
    if not base.startswith(("http://", "https://")):
        raise _failed("--url begins with http:// or https://", USAGE)
    secret = _secret(client_id, demo, secret_stdin)
    typer.echo(request_token(base, client_id, secret, _form(user, guest, scope))["access_token"])


def request_token(base_url: str, client_id: str, secret: str, form: dict[str, str]) -> dict[str, Any]:
    """The token endpoint's answer. Ends the program, saying why, when there is none or it is an error."""
    credentials = base64.b64encode(f"{quote_plus(client_id)}:{quote_plus(secret)}".encode()).decode()
    request = Request(f"{base_url.rstrip('/')}/oauth/token", urlencode(form).encode())  # noqa: S310  # http or https, see `token`
    request.add_unredirected_header("Authorization", f"Basic {credentials}")
    try:
        with _opener(base_url).open(request, timeout=TIMEOUT) as response:
            return dict(json.load(response))
    except HTTPError as error:
        raise _failed(f"Refused: {_reason(error)}", REFUSED) from None
    except (URLError, OSError) as error:
        raise _failed(f"No answer from {base_url}: {getattr(error, 'reason', error)}", UNREACHABLE) from None
    except ValueError:
        raise _failed(f"{base_url} is not a Penchant gateway.", UNREACHABLE) from None


def _form(user: str | None, guest: str | None, scope: str | None) -> dict[str, str]:
    form = {"scope": scope} if scope else {}
    if user is None and guest is None:
        return {"grant_type": CLIENT_CREDENTIALS, **form}
    kind = USER_ID if user is not None else ANONYMOUS_ID
    return {"grant_type": TOKEN_EXCHANGE, "subject_token": user or guest or "", "subject_token_type": kind, **form}


def _secret(client_id: str, demo: dict[str, Any], from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if given := read_secret("PENCHANT_CLIENT_SECRET"):
        return given
    if demo.get("client_id") == client_id:
        return str(demo["client_secret"])
    if sys.stdin.isatty():
        return getpass(f"Secret of {client_id}: ")
    raise _failed(f"The secret of {client_id} is not known here: --secret-stdin or PENCHANT_CLIENT_SECRET.", USAGE)


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        """A token endpoint does not redirect, and credentials do not follow."""


def _opener(base_url: str) -> OpenerDirector:
    """Goes around the machine's proxy for an address on this machine."""
    host = urlsplit(base_url).hostname or ""
    try:
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    return build_opener(_NoRedirect, *([ProxyHandler({})] if local else []))


def _reason(error: HTTPError) -> str:
    try:
        body = json.loads(error.read(10_000))
        return f"{body['error']}: {body.get('error_description', '')}".strip(": ")
    except (ValueError, KeyError, TypeError):
        return f"HTTP {error.code}"


def _failed(message: str, code: int) -> typer.Exit:
    typer.echo(message, err=True)
    return typer.Exit(code)
