"""`penchant recommend USER`: asks the running gateway for this person's recommendations, and shows their reasons.

`penchant recommend --all --to URL` writes those of all users to a file; with --queue, a trainer does.
"""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import orjson
import typer

from cli.commands.token import ClientId, Url, running_gateway
from cli.errors import WrongCommand
from cli.interface import AsJson, print_json, print_json_line

if TYPE_CHECKING:
    from engine.catalogue.filters import Filter

_FIELDS = """known recommendations(
    first: $first, placement: $placement, filter: $filter, market: $market, list: $list, preview: true
  ) {
    modelVersion asOf degraded
    edges { rank probability reason { code text } node { id title brand price { amount currency } } }
  }"""
_ASKED = "($id: ID!, $first: Int!, $placement: String!, $filter: ItemFilter, $market: ID, $list: ListKind)"
USER_QUERY = f"query Recommend{_ASKED} {{ person: user(id: $id) {{ {_FIELDS} }} }}"
GUEST_QUERY = f"query Recommend{_ASKED} {{ person: visitor(anonymousId: $id) {{ {_FIELDS} }} }}"


class Asked(NamedTuple):
    """The list that each person gets, as the command line says it."""

    placement: str
    first: int | None
    market: str | None
    filter: str | None
    list: str | None


class ListFormat(StrEnum):
    """How lists are written."""

    PARQUET = "parquet"
    JSONL = "jsonl"


def recommend(
    user: Annotated[str | None, typer.Argument(help="The shop's own id of the person.")] = None,
    first: Annotated[
        int | None,
        typer.Option(min=1, max=100, help="How many items: 10, in a file as the placement says, else 20."),
    ] = None,
    guest: Annotated[bool, typer.Option("--guest", help="USER is the anonymous id of a guest.")] = False,
    every: Annotated[bool, typer.Option("--all", help="Write the lists of all users to the file --to.")] = False,
    users: Annotated[
        Path | None,
        typer.Option("--users", metavar="FILE", help="Write the lists of these users to --to: an id per line."),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(metavar="URL", help="The file to write: a path, file:///folder/file, s3://bucket/file."),
    ] = None,
    format: Annotated[
        ListFormat | None, typer.Option(help="How it is written; by default as the file's name ends, else jsonl.")
    ] = None,
    placement: Annotated[str, typer.Option(help="Where the list is shown.")] = "home",
    filter: Annotated[
        str | None, typer.Option(metavar="JSON", help="Only such items, as GraphQL's ItemFilter.")
    ] = None,
    market: Annotated[str | None, typer.Option(help="Only items available in this market.")] = None,
    list: Annotated[
        str | None,
        typer.Option(metavar="KIND", help="What to list, such as BUY_AGAIN; by default what the placement says."),
    ] = None,
    queue: Annotated[
        bool, typer.Option("--queue", help="With --all: let a trainer write the file, below PENCHANT_LISTS_URL.")
    ] = False,
    as_json: AsJson = False,
    client: ClientId = None,
    url: Url = None,
) -> None:
    """Show what a person most likely wants next, and why; or write the lists of many users to a file.

    For USER, the running gateway is asked: the client's secret comes from PENCHANT_CLIENT_SECRET or the file of the
    stack in this folder. For --all and --users, the stores are read, and the lists are those that the gateway would
    give now. The file appears when it is complete.
    """
    if queue:
        if not every or any(each is not None for each in (user, users, to)) or guest:
            raise WrongCommand("Say --all --queue, without USER, --users and --to.")
        _queue(format, Asked(placement, first, market, filter, list), as_json=as_json)
        return
    if every or users is not None:
        if user is not None or guest or to is None or (every and users is not None):
            raise WrongCommand("Say --all or --users FILE, and --to URL, without USER.")
        _write(to, format, Asked(placement, first, market, filter, list), users, as_json=as_json)
        return
    if user is None or to is not None:
        raise WrongCommand("Say whose list: USER; or --all or --users FILE, and --to URL.")
    if format is not None:
        raise WrongCommand("--format is for files, with --all or --users.")
    asked = Asked(placement, 10 if first is None else first, market, filter, list)
    _show(user, asked, client, url, guest=guest, as_json=as_json)


def _write(to: str, format: ListFormat | None, asked: Asked, users: Path | None, *, as_json: bool) -> None:
    from cli.lists import write_lists
    from core.logs import configure_logs
    from engine.many_lists.batch import BatchRequest

    configure_logs("WARNING")
    request = BatchRequest.of(asked.placement, asked.first, asked.market, _filter(asked), asked.list)
    done = write_lists(to, None if format is None else format.value, request, users)
    if as_json:
        print_json_line(done._asdict())
        return
    model = done.model or "what is popular: no model serves, or its bundle cannot be read here"
    typer.echo(f"{done.lists:,} lists written to {to}, by {model}. Degraded: {done.degraded:,}.")
    if done.rejected:
        typer.echo(f"Left out: {done.rejected:,} ids that are no user ids.", err=True)


def _queue(format: ListFormat | None, asked: Asked, *, as_json: bool) -> None:
    from cli.lists import queue_lists
    from core.logs import configure_logs
    from engine.many_lists.wanted_lists import WantedLists

    configure_logs("ERROR")
    wanted = WantedLists(
        asked.placement, asked.first, asked.market, _filter(asked), "parquet" if format is None else format.value,
        asked.list,
    )  # fmt: skip
    job = queue_lists(wanted)
    if as_json:
        print_json_line({"job": job.id, "state": job.state})
    else:
        typer.echo(f"Job {job.id} waits for a trainer. `job(id: {job.id})` shows how far it is, and where the file is.")


def _filter(asked: Asked) -> "Filter | None":
    if asked.filter is None:
        return None
    from api.graphql.filter_text import read_filter_text

    return read_filter_text(asked.filter)


def _show(user: str, asked: Asked, client: str | None, url: str | None, *, guest: bool, as_json: bool) -> None:
    _filter(asked)  # before the gateway is asked
    variables = {**asked._asdict(), "id": user, "filter": asked.filter and orjson.loads(asked.filter)}
    person = running_gateway(client, url).query(GUEST_QUERY if guest else USER_QUERY, variables)["person"]
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
    for heading in ("", "item", "probability", "why"):
        table.add_column(heading, justify="right" if heading in {"", "probability"} else "left")
    for edge in found["edges"]:
        node = edge["node"]
        title = node["title"] or node["id"]
        likely = "" if edge["probability"] is None else f"{edge['probability']:.3f}"
        table.add_row(str(edge["rank"]), escape(title), likely, escape(edge["reason"]["text"]))
    console = Console()
    console.print(table)
    if found["degraded"]:
        console.print(f"Degraded: {', '.join(found['degraded'])}")
