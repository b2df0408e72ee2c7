"""`penchant recommend USER`: asks the running gateway what this person wants next, and shows why."""

import json
import urllib.request
from typing import Annotated, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

import typer

from cli.checkout import read_demo
from cli.site import DIRECT
from cli.token import REFUSED, UNREACHABLE, USAGE, request_token
from core.secret_files import read_secret

TIMEOUT = 10.0  # seconds

_ASKED = """known recommendations(first: $first, preview: true) {
    modelVersion asOf degraded
    edges { rank score reason { code text } node { id title brand price { amount currency } } }
  }"""
USER_QUERY = f"query Recommend($id: ID!, $first: Int!) {{ person: user(id: $id) {{ {_ASKED} }} }}"
GUEST_QUERY = f"query Recommend($id: ID!, $first: Int!) {{ person: visitor(anonymousId: $id) {{ {_ASKED} }} }}"


def recommend(
    user: Annotated[str, typer.Argument(help="The shop's own id of the person.")],
    first: Annotated[int, typer.Option(min=1, max=100, help="How many items.")] = 10,
    guest: Annotated[bool, typer.Option("--guest", help="USER is the anonymous id of a guest.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the gateway's answer as JSON.")] = False,
    client: Annotated[str | None, typer.Option(help="Client id; by default the demo's.")] = None,
    url: Annotated[str | None, typer.Option(help="Base URL of the gateway.", envvar="PENCHANT_PUBLIC_URL")] = None,
) -> None:
    """Show what a person most likely wants next, and why.

    The client's secret comes from PENCHANT_CLIENT_SECRET or the demo's file.
    """
    demo = read_demo() or {}
    base, id = url or demo.get("base_url"), client or demo.get("client_id")
    secret = read_secret("PENCHANT_CLIENT_SECRET") or demo.get("client_secret")
    if not base or not id or not secret:
        raise _failed(
            "Say --url, --client and PENCHANT_CLIENT_SECRET, or run this beside `penchant up` or the demo.", USAGE
        )
    if not base.startswith(("http://", "https://")):
        raise _failed("--url begins with http:// or https://", USAGE)
    token = request_token(base, id, secret, {"grant_type": "client_credentials"})["access_token"]
    variables = {"id": user, "first": first}
    person = ask(base, token, GUEST_QUERY if guest else USER_QUERY, variables)["person"]
    if as_json:
        typer.echo(json.dumps(person, ensure_ascii=False, indent=2))
    else:
        _show(user, person)


def ask(base_url: str, token: str, query: str, variables: dict[str, Any]) -> dict[str, Any]:
    """The `data` of a GraphQL answer. Ends the program, saying why, when there is none or it has errors."""
    request = urllib.request.Request(  # noqa: S310 - http or https, see `recommend`
        f"{base_url.rstrip('/')}/graphql",
        json.dumps({"query": query, "variables": variables}).encode(),
        {"Content-Type": "application/json", "Authorization": f"Bearer {token}"},
    )
    try:
        with _opener(base_url).open(request, timeout=TIMEOUT) as response:
            answer = json.load(response)
    except HTTPError as error:
        raise _failed(f"Refused: HTTP {error.code}", REFUSED) from None
    except (URLError, OSError, ValueError) as error:
        raise _failed(f"No answer from {base_url}: {getattr(error, 'reason', error)}", UNREACHABLE) from None
    if answer.get("errors"):
        raise _failed("Refused: " + "; ".join(error["message"] for error in answer["errors"]), REFUSED)
    return dict(answer["data"])


def _opener(base_url: str) -> urllib.request.OpenerDirector:
    local = urlsplit(base_url).hostname in {"localhost", "127.0.0.1", "::1"}
    return DIRECT if local else urllib.request.build_opener()


def _show(user: str, person: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    found = person["recommendations"]
    made_by = found["modelVersion"] or "what is popular: no model serves yet"
    table = Table(title=f"What {escape(user)} may want next", caption=f"by {made_by}, as of {found['asOf']}")
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


def _failed(message: str, code: int) -> typer.Exit:
    typer.echo(message, err=True)
    return typer.Exit(code)
