"""`penchant clients limits`: shows and sets the rate and the daily quota of one client."""

from typing import Annotated

import typer

from cli.database import on_pool
from cli.errors import Refused
from cli.interface import print_json
from core.errors import InvalidInput
from core.rates import MOST_UNITS, OFF, read_rate
from db.postgres import Pool
from db.rate_limits import ClientLimits, client_limits, set_client_limits

DEFAULT = "default"
MOST_A_DAY = MOST_UNITS * 1_000


def show_or_set(database: str, client_id: str, rate: str | None, daily: str | None, as_json: bool) -> None:
    """Set what is given, and print the limits of the client."""
    limits = on_pool(lambda pool: _changed(pool, client_id, rate, daily), database)
    if limits is None:
        raise Refused(f"There is no client {client_id}.")
    if as_json:
        print_json({"client_id": client_id, "rate": limits.rate, "daily_quota": limits.daily_quota})
    else:
        typer.echo(f"rate: {limits.rate or DEFAULT}\ndaily quota: {limits.daily_quota or 'none'}")


async def _changed(pool: Pool, client_id: str, rate: str | None, daily: str | None) -> ClientLimits | None:
    limits = await client_limits(pool, client_id)
    if limits is None or (rate is None and daily is None):
        return limits
    wanted = ClientLimits(
        limits.rate if rate is None else _read_rate(rate), limits.daily_quota if daily is None else _read_quota(daily)
    )
    return wanted if await set_client_limits(pool, client_id, wanted) else None


def _read_rate(text: str) -> str | None:
    if text == DEFAULT:
        return None
    read_rate(text)
    return text


def _read_quota(text: str) -> int | None:
    if text in OFF:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 13 or not 1 <= int(text) <= MOST_A_DAY:
        raise InvalidInput(f"A daily quota is a number from 1 to {MOST_A_DAY:,}; or off", "daily")
    return int(text)


Rate = Annotated[str | None, typer.Option(help="Units in a time, as 6000/minute; off; default: as the settings say.")]
Daily = Annotated[str | None, typer.Option(help="Units of a UTC day; off.")]
