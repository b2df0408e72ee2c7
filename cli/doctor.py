"""`penchant doctor`: looks at everything Penchant stands on, and says what is wrong and what to do."""

import asyncio
import json
import os
from collections.abc import Awaitable, Iterable
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated
from urllib.parse import unquote

import typer

if TYPE_CHECKING:
    from cli.checkup.findings import Finding
    from core.settings import Gateway, Stores

PATIENCE = 20.0  # seconds for one thing
COLOURS = {"OK": typer.colors.GREEN, "WARN": typer.colors.YELLOW, "FAIL": typer.colors.RED}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for machines.")] = False,
) -> None:
    """Look at settings, stores, queues, schema, bundle, clock and disk. Ends with 1 when something has to be done."""
    findings = asyncio.run(_visit())
    failed = any(finding.verdict == "FAIL" for finding in findings)
    if as_json:
        typer.echo(json.dumps({"ok": not failed, "findings": [asdict(finding) for finding in findings]}, indent=1))
    else:
        _print(findings)
    raise typer.Exit(1 if failed else 0)


async def _visit() -> "list[Finding]":
    from cli.checkup.configuration import check_collector, check_versions, read
    from core.settings import EventLake, Gateway, Schedule, Stores

    stores, no_stores = read(Stores)
    gateway, no_gateway = read(Gateway)
    looks = [*_looks_at_stores(stores), *_looks_at_gateway(gateway)]
    looked = await asyncio.gather(*(_patiently(name, look) for name, look in looks))
    found = [
        *check_versions(),
        *no_stores,
        *no_gateway,
        *read(Schedule)[1],
        *read(EventLake)[1],
        *check_collector(),
        *(each for part in looked for each in part),
    ]
    return list(_without_secrets(found, _secrets(stores, gateway)))


def _looks_at_stores(stores: "Stores | None") -> "list[tuple[str, Awaitable[list[Finding]]]]":
    from cli.checkup.broker import check_broker
    from cli.checkup.configuration import check_disk
    from cli.checkup.postgres import check_postgres
    from cli.checkup.redis import check_redis
    from cli.checkup.serving import check_bundle

    if stores is None:
        return []
    return [
        ("postgres", check_postgres(stores)),
        ("redis", check_redis(stores)),
        ("broker", check_broker(stores)),
        ("bundle", check_bundle(stores)),
        ("disk", asyncio.to_thread(check_disk, stores)),
    ]


def _looks_at_gateway(gateway: "Gateway | None") -> "list[tuple[str, Awaitable[list[Finding]]]]":
    from cli.checkup.configuration import check_gateway_settings
    from cli.checkup.serving import check_gateway

    if gateway is None:
        return []
    return [
        ("secret", asyncio.to_thread(check_gateway_settings, gateway)),
        ("gateway", check_gateway(gateway)),
    ]


async def _patiently(about: str, look: "Awaitable[list[Finding]]") -> "list[Finding]":
    """A look that breaks off is a finding too: the others go on."""
    from cli.checkup.findings import fail

    try:
        async with asyncio.timeout(PATIENCE):
            return await look
    except TimeoutError:
        return [fail(about, f"did not answer in {PATIENCE:.0f} s", "It is there and hangs: look at its own log.")]
    except Exception as error:
        says = f"could not be looked at: {type(error).__name__}: {error}"
        return [fail(about, says, "See whether this user may read it.")]


def _secrets(stores: "Stores | None", gateway: "Gateway | None") -> list[str]:
    """What must never be printed, whatever a library puts into its errors."""
    from cli.checkup.findings import password

    urls = [value for name, value in os.environ.items() if name.startswith("PENCHANT_") and name.endswith("_URL")]
    urls += (
        [url.get_secret_value() for url in (stores.postgres_url, stores.redis_url, stores.broker_url)] if stores else []
    )
    own = [gateway.secret.get_secret_value()] if gateway else []
    found = [secret for secret in (*map(password, urls), *own) if secret and len(secret) > 3]
    return [*found, *map(unquote, found)]


def _without_secrets(findings: "Iterable[Finding]", secrets: list[str]) -> "Iterable[Finding]":
    for finding in findings:
        says = finding.says
        for secret in secrets:
            says = says.replace(secret, "***")
        yield replace(finding, says=says)


def _print(findings: "list[Finding]") -> None:
    width = max(len(finding.about) for finding in findings)
    for finding in findings:
        verdict = typer.style(f"{finding.verdict:<4}", fg=COLOURS[finding.verdict], bold=True)
        typer.echo(f"{verdict}  {finding.about:<{width}}  {finding.says}")
        if finding.advice:
            typer.echo(f"{'':<{width + 8}}{finding.advice}")
