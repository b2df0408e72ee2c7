"""`penchant keys`: lists the keys that sign access tokens, makes a new one, revokes a stolen one."""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from api.oauth.tokens.signing_keys import SIGNS_AFTER, SIGNS_SOON, VERIFY_FOR, Sealer, SigningKeys
from cli.database import on_pool
from cli.errors import WrongCommand, refusals
from cli.interface import AsJson, command_group, print_json
from core import clock
from core.settings import Gateway
from db.postgres import Pool
from db.signing_keys import KeyTimes, list_key_times

app = command_group("List the keys that sign access tokens, make a new one, revoke a stolen one.")


@app.command("list")
def list_all(as_json: AsJson = False) -> None:
    """List the keys, newest first, with the time until which each verifies tokens."""
    keys = [_shown(key, clock.now()) for key in on_pool(list_key_times)]
    if as_json:
        print_json(keys)
        return
    for key in keys:
        signs = f"signs from {key['signs_from']} until {key['signs_until'] or 'further notice'}"
        verifies = f", verifies until {key['verifies_until']}" if key["verifies_until"] else ""
        typer.echo(f"{key['kid']}  ({key['state']})  {signs}{verifies}")


@app.command()
def rotate(
    now: Annotated[
        bool,
        typer.Option("--now", help="Sign with the new key in 10 seconds, not in 6 minutes, when everybody has it."),
    ] = False,
    revoke: Annotated[
        str | None, typer.Option(metavar="KID", help="Refuse all tokens of this key, for example a stolen one.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a new signing key; the one before verifies until its tokens have ended. Needs the gateway's secret.

    With --revoke, all tokens of that key are refused within three seconds, and another key signs at once.
    """
    if now and revoke is not None:
        raise WrongCommand("--revoke takes effect at once: leave out --now.")
    keys = SigningKeys(Sealer(*Gateway().secrets))

    async def change(pool: Pool) -> str | None:
        if revoke is not None:
            return await keys.revoke(pool, revoke)
        return await keys.rotate(pool, SIGNS_SOON if now else SIGNS_AFTER)

    with refusals():
        signs = on_pool(change)
    (key,) = [_shown(key, clock.now()) for key in on_pool(list_key_times) if key.kid == signs]
    if as_json:
        print_json(key)
    else:
        typer.echo(f"{key['kid']} signs from {key['signs_from']}.")


def _shown(key: KeyTimes, now: datetime) -> dict[str, Any]:
    verifies_until = key.revoked_at or (key.retired_at and key.retired_at + VERIFY_FOR)
    return {
        "kid": key.kid,
        "state": _state(key, now),
        "created_at": _text(key.created_at),
        "signs_from": _text(key.signs_from),
        "signs_until": _text(key.revoked_at or key.retired_at),
        "verifies_until": _text(verifies_until),
    }


def _state(key: KeyTimes, now: datetime) -> str:
    if key.revoked_at is not None:
        return "revoked"
    if key.signs_from > now:
        return "next"
    if key.retired_at is None or key.retired_at > now:
        return "signs"
    return "verifies" if key.retired_at + VERIFY_FOR > now else "ended"


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="seconds")
