"""`penchant forecast USER`: asks the running gateway whether a person may leave, why, and when they order next."""

from typing import Annotated, Any

import typer

from cli.commands.token import ClientId, Url, running_gateway
from cli.interface import AsJson, print_json

_FIELDS = """churn(within: $within) {
    probability band drivers { side contribution text } asOf modelVersion degraded
  }
  nextPurchase(within: $within) {
    probability expectedDate asOf modelVersion degraded categories(first: 3) { key share }
  }"""
USER_QUERY = f"query Forecast($id: ID!, $within: Duration!) {{ person: user(id: $id) {{ {_FIELDS} }} }}"
GUEST_QUERY = f"query Forecast($id: ID!, $within: Duration!) {{ person: visitor(anonymousId: $id) {{ {_FIELDS} }} }}"


def forecast(
    user: Annotated[str, typer.Argument(help="The shop's own id of the person.")],
    within: Annotated[int, typer.Option(min=1, max=365, metavar="DAYS", help="How many days to look ahead.")] = 90,
    guest: Annotated[bool, typer.Option("--guest", help="USER is the anonymous id of a guest.")] = False,
    as_json: AsJson = False,
    client: ClientId = None,
    url: Url = None,
) -> None:
    """Show whether a person may leave, why, and when they order next.

    The client needs the scope profiles:read. Its secret comes from PENCHANT_CLIENT_SECRET or the file of the stack in
    this folder.
    """
    query = GUEST_QUERY if guest else USER_QUERY
    person = running_gateway(client, url).query(query, {"id": user, "within": f"P{within}D"})["person"]
    if as_json:
        print_json(person)
    else:
        _print(user, within, person)


def _print(user: str, within: int, person: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    churn, next_purchase, console = person["churn"], person["nextPurchase"], Console()
    if churn is None:
        console.print(f"{escape(user)} never bought.", highlight=False)
        return
    if churn["probability"] is None:
        console.print("No forecast serves: run `penchant train`.", highlight=False)
        return
    console.print(
        f"{escape(user)} orders within {within} days with probability {next_purchase['probability']:.2f}, then about"
        f" {next_purchase['expectedDate'][:10]}. The risk of leaving is {churn['band']}.",
        highlight=False,
    )
    if likely := next_purchase["categories"]:
        named = ", ".join(f"{escape(each['key'])} ({each['share']:.0%})" for each in likely)
        console.print(f"The order is most likely of: {named}.", highlight=False)
    table = Table(caption=f"by {churn['modelVersion']}, as of {churn['asOf']}; above 0 speaks for leaving")
    for heading in ("side", "log odds", "why"):
        table.add_column(heading, justify="right" if heading == "log odds" else "left")
    for driver in churn["drivers"]:
        table.add_row(driver["side"].lower(), f"{driver['contribution']:+.2f}", escape(driver["text"]))
    console.print(table)
