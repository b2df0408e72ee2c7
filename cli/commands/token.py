"""`penchant token`: asks the token endpoint for an access token and prints it, bare."""

import sys
from getpass import getpass
from typing import Annotated, Any

import typer

from api.oauth.grant_types import ANONYMOUS_ID, CLIENT_CREDENTIALS, TOKEN_EXCHANGE, USER_ID
from cli.errors import WrongCommand
from cli.gateway_client import Client, is_web_address
from cli.interface import SecretFromStdin, secret_from_stdin
from cli.local.stack_files import read_credentials
from core.secret_files import read_secret

TIMEOUT = 10.0  # seconds

ClientId = Annotated[str | None, typer.Option(help="Client id; by default that of the stack in this folder.")]
Url = Annotated[str | None, typer.Option(help="Base URL of the gateway.", envvar="PENCHANT_PUBLIC_URL")]


def token(
    client: ClientId = None,
    user: Annotated[str | None, typer.Option(help="A token of this user, by the shop's own id.")] = None,
    guest: Annotated[str | None, typer.Option(help="A token of this guest, by anonymous id.")] = None,
    scope: Annotated[str | None, typer.Option(help="Scopes, separated by spaces; by default all it may have.")] = None,
    url: Url = None,
    secret_stdin: SecretFromStdin = False,
) -> None:
    """Print an access token of a client, or of one of its people.

    The secret comes from standard input, PENCHANT_CLIENT_SECRET, the file of the stack in this folder, or a prompt.
    """
    known = read_credentials()
    if user is not None and guest is not None:
        raise WrongCommand("--user and --guest exclude each other.")
    client_id, base = client or known.get("client_id"), url or known.get("base_url")
    if not client_id or not base:
        raise WrongCommand("Say --client and --url, or run this beside `penchant up` or the demo.")
    check_web_address(base)
    secret = _secret(client_id, known, secret_stdin)
    typer.echo(Client(base, client_id, secret, TIMEOUT).token(_form(user, guest, scope)))


def check_web_address(url: str) -> None:
    """Raise WrongCommand when no request may be sent to the address."""
    if not is_web_address(url):
        raise WrongCommand("--url begins with http:// or https://")


def _form(user: str | None, guest: str | None, scope: str | None) -> dict[str, str]:
    form = {"scope": scope} if scope else {}
    if user is None and guest is None:
        return {"grant_type": CLIENT_CREDENTIALS, **form}
    kind = USER_ID if user is not None else ANONYMOUS_ID
    return {"grant_type": TOKEN_EXCHANGE, "subject_token": user or guest or "", "subject_token_type": kind, **form}


def _secret(client_id: str, known: dict[str, Any], from_stdin: bool) -> str:
    if from_stdin:
        return secret_from_stdin()
    if given := read_secret("PENCHANT_CLIENT_SECRET"):
        return given
    if known.get("client_id") == client_id:
        return str(known["client_secret"])
    if sys.stdin.isatty():
        return getpass(f"Secret of {client_id}: ")
    raise WrongCommand(f"The secret of {client_id} is not known here: --secret-stdin or PENCHANT_CLIENT_SECRET.")


def running_gateway(client: str | None, url: str | None) -> Client:
    """The gateway that the command line names, else that of the stack in this folder. Raises WrongCommand."""
    known = read_credentials()
    base, id = url or known.get("base_url"), client or known.get("client_id")
    secret = read_secret("PENCHANT_CLIENT_SECRET") or known.get("client_secret")
    if not base or not id or not secret:
        raise WrongCommand(
            "Say --url, --client and PENCHANT_CLIENT_SECRET, or run this beside `penchant up` or the demo."
        )
    check_web_address(base)
    return Client(base, id, secret, TIMEOUT)
