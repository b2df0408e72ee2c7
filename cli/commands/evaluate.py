"""`penchant evaluate`: baselines beside any versions on the same split; a table, JSON, and a report in HTML.

Exit codes: 0 compared, 1 there is nothing to compare on, 2 the command is wrong, 3 a store cannot be reached or a file
cannot be written.
"""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from cli.errors import WrongCommand
from cli.interface import write_file
from core.settings import EventLake, Stores, Trainings

if TYPE_CHECKING:
    from engine.models.evaluating import Question


def evaluate(
    versions: Annotated[
        str | None, typer.Option(metavar="ID,ID", help="Versions of `penchant models list`; by default what serves.")
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,NAME", help="Baselines; by default all but sequence_net, which is slow, xgboost and lightgbm."
        ),
    ] = None,
    cut: Annotated[
        str | None,
        typer.Option(metavar="DATE", help="Where the test span begins; by default where that of the versions does."),
    ] = None,
    days: Annotated[
        int | None, typer.Option(min=1, max=366, help="Days of the test span; by default the rest.")
    ] = None,
    windows: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=28,
            help="In how many windows the test span is cut; tables are rebuilt as of the start of each. By default 4.",
        ),
    ] = None,
    holdout: Annotated[
        Path | None, typer.Option(help="Orders after the cut from a file, as `penchant train --holdout` reads them.")
    ] = None,
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write JSON to FILE, - for standard output.")
    ] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a report with plots to FILE.")] = None,
) -> None:
    """Compare versions and baselines on the same later orders: metrics with intervals, and slices."""
    for file in (json, html):
        if file is not None and str(file) != "-" and not file.absolute().parent.is_dir():
            raise WrongCommand(f"There is no folder {file.absolute().parent} to write {file.name} to.")
    from engine.models.evaluating import DEFAULTS, WINDOWS, Question, check_methods
    from engine.models.training import assumed_by

    settings, named = EventLake(), _listed(methods)
    question = Question(
        methods=DEFAULTS if named is None else named,
        versions=_listed(versions),
        cut=None if cut is None else _seconds(cut),
        days=days,
        windows=WINDOWS if windows is None else windows,
        holdout=_holdout(holdout) if holdout else None,
        lake=settings.lake_url if settings.lake_training else None,
        assumed=assumed_by(Trainings()),
    )
    check_methods(question.methods)  # before settings are asked for and anything is connected
    document = asyncio.run(_compared(Stores(), question))
    if html is not None:
        from engine.reports.comparisons import report_of

        write_file(html, report_of(document).encode())
    if json is not None:
        write_file(json, orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
    if json is None or str(json) != "-":
        from cli.evaluations.tables import print_tables

        print_tables(document)


async def _compared(stores: Stores, question: "Question") -> dict[str, Any]:
    from cli.progress import stage_progress
    from db.postgres import connect_pool
    from engine.models.evaluating import compare

    async with await connect_pool(stores.postgres_url.get_secret_value(), size=1) as pool:
        with stage_progress() as report:
            return await compare(pool, stores.bundles.resolve(), question, report)


def _holdout(file: Path) -> Any:
    from cli.holdout import with_holdout

    return lambda log: with_holdout(log, file)


def _listed(words: str | None) -> list[str] | None:
    """The names between commas, once each; none of an empty text."""
    return None if words is None else list(dict.fromkeys(filter(None, map(str.strip, words.split(",")))))


def _seconds(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
        in_utc = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise WrongCommand(f"--cut: {text!r} is no date: write 2026-01-31 or 2026-01-31T12:00:00Z.") from error
    return int(in_utc.timestamp())
