"""`penchant explain USER ITEM`: asks the running gateway why an item is in a person's list, or is not."""

from typing import Annotated, Any

import typer

from cli.commands.token import ClientId, Url, running_gateway
from cli.interface import AsJson, print_json

QUERY = """query Explain($user: ID!, $item: ID!, $placement: String!, $market: ID, $model: ID, $first: Int!) {
  explain(userId: $user, itemId: $item, placement: $placement, market: $market, modelVersionId: $model, first: $first) {
    outcome summary rank rule ruleId until score probability modelVersion asOf degraded
    item { id title }
    sources { source names evidence place takes because { id title } }
    parts { method logit medianLogit contributions { group value } lift lowering }
    rules { ruleId version kind factor position } rankWithoutRules
    edge { rank score item { id title } }
    reason { code text }
  }
}"""


def explain(
    user: Annotated[str, typer.Argument(help="The shop's own id of the person.")],
    item: Annotated[str, typer.Argument(help="The id of the item.")],
    first: Annotated[int, typer.Option(min=1, max=100, help="How long the list is.")] = 20,
    placement: Annotated[str, typer.Option(help="Where the list is shown.")] = "home",
    market: Annotated[str | None, typer.Option(help="The market the person buys in.")] = None,
    model: Annotated[str | None, typer.Option(metavar="ID", help="A model other than the one that serves.")] = None,
    as_json: AsJson = False,
    client: ClientId = None,
    url: Url = None,
) -> None:
    """Show why an item is in a person's list or is not: sources, rules, and what its score is made of.

    The client needs the scope models:read. Its secret comes from PENCHANT_CLIENT_SECRET or the file of the stack in
    this folder.
    """
    asked = {"user": user, "item": item, "placement": placement, "market": market, "model": model, "first": first}
    found = running_gateway(client, url).query(QUERY, asked)["explain"]
    if as_json:
        print_json(found)
        return
    for line in _lines(found):
        typer.echo(line)


def _lines(found: dict[str, Any]) -> list[str]:
    """The explanation, for people."""
    lines = [found["outcome"].replace("_", " "), found["summary"]]
    if found["reason"]:
        lines.append(f"The list says: {found['reason']['text']}")
    if found["score"] is not None:
        likely = "" if found["probability"] is None else f", probability {found['probability']:.4f}"
        edge = "" if found["edge"] is None else f"; the last item shown has {found['edge']['score']:.4f}"
        lines.append(f"Score {found['score']:.4f}{likely}{edge}.")
    if found["rules"]:
        lines += ["", "Rules of the shop:", *(f"  {_rule(rule)}" for rule in found["rules"])]
        if found["rankWithoutRules"] is not None:
            lines.append(f"Without rules it would be at rank {found['rankWithoutRules']}.")
    if found["sources"]:
        lines += ["", "Sources:", *(f"  {_source(source)}" for source in found["sources"])]
    if found["parts"]:
        lines += ["", *_parts(found["parts"])]
    lines += ["", f"By {found['modelVersion'] or 'no model'}, as of {found['asOf']}."]
    if found["degraded"]:
        lines.append(f"Degraded: {', '.join(found['degraded'])}")
    return lines


def _rule(rule: dict[str, Any]) -> str:
    words = f"{rule['ruleId']}, version {rule['version']}: {rule['kind'].replace('_', ' ').lower()}"
    if rule["position"] is not None:
        return f"{words} at position {rule['position']}"
    return words if rule["factor"] is None else f"{words}, odds x {rule['factor']:g}"


def _source(source: dict[str, Any]) -> str:
    words = [f"{'+' if source['names'] else '-'} {source['source'].replace('_', ' ').lower()}"]
    if source["place"] is not None:
        words.append(f"place {source['place']:,}, takes {source['takes'] or 'all'}")
    elif not source["names"]:
        words.append("knows nothing of it")
    if source["because"]:
        words.append("because of " + ", ".join(item["title"] or item["id"] for item in source["because"]))
    return ": ".join([words[0], "; ".join(words[1:])]) if len(words) > 1 else words[0]


def _parts(parts: dict[str, Any]) -> list[str]:
    groups = [(each["group"].replace("_", " ").lower(), each["value"]) for each in parts["contributions"]]
    lines = [
        f"The network's logit is {parts['logit']:+.3f}; that of the median candidate is {parts['medianLogit']:+.3f}."
        " The difference comes from:",
        *(f"  {value:+.3f}  {group}" for group, value in groups),
        f"({parts['method']}.)",
    ]
    if parts["lift"]:
        lines.append(f"What was just looked at or is on the page lifts the score by {parts['lift']:.3f}.")
    if parts["lowering"] < 1:
        lines.append(f"A disliked item like it lowers the score to {parts['lowering']:.0%}.")
    return lines
