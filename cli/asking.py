"""Questions of commands to the running gateway: who asks it, and where it is."""

from cli.commands.token import TIMEOUT, check_web_address
from cli.errors import WrongCommand
from cli.gateway_client import Client
from cli.local.stack_files import read_credentials
from core.secret_files import read_secret


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
