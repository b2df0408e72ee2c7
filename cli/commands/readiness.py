"""`penchant readiness`: what can be trained now, which data is missing, and what serves meanwhile."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from cli.database import on_pool
from cli.interface import AsJson, print_json

if TYPE_CHECKING:
    from engine.readiness.readiness import ModelReadiness


def readiness(as_json: AsJson = False) -> None:
    """Show of each model whether it serves, could be trained, or which data it lacks, and what serves meanwhile."""
    from engine.readiness.readiness import readiness as read

    found = on_pool(read)
    if as_json:
        print_json(asdict(found))
        return
    more = "" if found.complete else " or more"
    typer.echo(f"{found.lines:,}{more} purchases are stored.")
    for model in found.models:
        typer.echo("")
        for line in _lines(model):
            typer.echo(line)


def _lines(model: "ModelReadiness") -> list[str]:
    missing = [f"  - {each.have:,} of {each.need:,} {each.words}" for each in model.requirements if not each.met]
    enough = [f"  + {each.have:,} {each.words}" for each in model.requirements if each.met]
    said = "" if missing and not model.model else f" {model.summary}"  # the lines below say what is missing
    head = f"{model.subject.replace('_', ' ').lower()}: {model.status.replace('_', ' ').lower()}.{said}"
    return [head, *missing, *enough, *([] if model.model else [f"  Meanwhile: {model.fallback}."])]
