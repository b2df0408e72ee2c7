"""`penchant recommend USER`: asks the running gateway for this person's recommendations, and shows their reasons."""

from typing import Annotated, Any

import typer

from cli.commands.token import TIMEOUT, ClientId, Url, check_web_address
from cli.errors import WrongCommand
from cli.gateway_client import Client
from cli.interface import AsJson, print_json
from cli.local.stack_files import read_credentials
from core.secret_files import read_secret

_FIELDS = """known recommendations(first: $first, preview: true) {
    modelVersion asOf degraded
    edges { rank score reason { code text } node { id title brand price { amount currency } } }
  }"""
USER_QUERY = f"query Recommend($id: ID!, $first: Int!) {{ person: user(id: $id) {{ {_FIELDS} }} }}"
GUEST_QUERY = f"query Recommend($id: ID!, $first: Int!) {{ person: visitor(anonymousId: $id) {{ {_FIELDS} }} }}"


def recommend(
    user: Annotated[str, typer.Argument(help="The shop's own id of the person.")],
    first: Annotated[int, typer.Option(min=1, max=100, help="How many items.")] = 10,
    guest: Annotated[bool, typer.Option("--guest", help="USER is the anonymous id of a guest.")] = False,
    as_json: AsJson = False,
    client: ClientId = None,
    url: Url = None,
) -> None:
    """Show what a person most likely wants next, and why.

    The client's secret comes from PENCHANT_CLIENT_SECRET or the file of the stack in this folder.
    """
    known = read_credentials()
    base, id = url or known.get("base_url"), client or known.get("client_id")
    secret = read_secret("PENCHANT_CLIENT_SECRET") or known.get("client_secret")
    if not base or not id or not secret:
        raise WrongCommand(
            "Say --url, --client and PENCHANT_CLIENT_SECRET, or run this beside `penchant up` or the demo."
        )
    check_web_address(base)
    query = GUEST_QUERY if guest else USER_QUERY
    person = Client(base, id, secret, TIMEOUT).query(query, {"id": user, "first": first})["person"]
    if as_json:
        print_json(person)
    else:
        _print(user, person)


def _print(user: str, person: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    found = person["recommendations"]
    model = found["modelVersion"] or "what people bought: no model serves yet"
    table = Table(title=f"What {escape(user)} may want next", caption=f"by {model}, as of {found['asOf']}")
    for heading in ("", "item", "score", "why"):
        table.add_column(heading, justify="right" if heading in {"", "score"} else "left")
    for edge in found["edges"]:
        node = edge["node"]
        title = node["title"] or node["id"]
        table.add_row(str(edge["rank"]), escape(title), f"{edge['score']:.3f}", escape(edge["reason"]["text"]))
    console = Console()
    console.print(table)
    if found["degraded"]:
        console.print(f"Degraded: {', '.join(found['degraded'])}")
