"""`penchant doctor`: checks everything that Penchant needs, and says what is wrong and what to do."""

import asyncio
import os
from collections.abc import Awaitable, Iterable
from dataclasses import asdict, replace
from typing import TYPE_CHECKING
from urllib.parse import unquote

import typer

from cli.errors import REFUSED
from cli.interface import AsJson, print_json

if TYPE_CHECKING:
    from cli.checkup.findings import Finding
    from core.settings import Gateway, Stores

CHECK_TIMEOUT = 20.0  # seconds
COLOURS = {"OK": typer.colors.GREEN, "WARN": typer.colors.YELLOW, "FAIL": typer.colors.RED}


def doctor(as_json: AsJson = False) -> None:
    """Check settings, stores, queues, schema, bundle, clock and disk. Ends with 1 when something has to be done."""
    findings = asyncio.run(_check_all())
    failed = any(finding.verdict == "FAIL" for finding in findings)
    if as_json:
        print_json({"ok": not failed, "findings": [asdict(finding) for finding in findings]})
    else:
        _print(findings)
    raise typer.Exit(REFUSED if failed else 0)


async def _check_all() -> "list[Finding]":
    from cli.checkup.configuration import check_collector, check_names, check_versions, read_concern
    from core.purge_settings import Purges
    from core.settings import EventLake, Gateway, Ingest, Logging, Schedule, Stores, Tokens, Watching

    stores, no_stores = read_concern(Stores)
    gateway, no_gateway = read_concern(Gateway)
    checks = [*_store_checks(stores), *_gateway_checks(gateway)]
    checked = await asyncio.gather(*(_in_time(name, check) for name, check in checks))
    found = [
        *check_versions(),
        *no_stores,
        *no_gateway,
        *(
            fault
            for kind in (Ingest, Tokens, Logging, Watching, Schedule, EventLake, Purges)
            for fault in read_concern(kind)[1]
        ),
        *check_names(),
        *check_collector(),
        *(each for part in checked for each in part),
    ]
    return list(_without_secrets(found, _secrets(stores, gateway)))


def _store_checks(stores: "Stores | None") -> "list[tuple[str, Awaitable[list[Finding]]]]":
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


def _gateway_checks(gateway: "Gateway | None") -> "list[tuple[str, Awaitable[list[Finding]]]]":
    from cli.checkup.configuration import check_gateway_settings
    from cli.checkup.serving import check_gateway

    if gateway is None:
        return []
    return [
        ("secret", asyncio.to_thread(check_gateway_settings, gateway)),
        ("gateway", check_gateway(gateway)),
    ]


async def _in_time(about: str, check: "Awaitable[list[Finding]]") -> "list[Finding]":
    """The findings of a check; a check that fails or hangs is a finding too, and the others go on."""
    from cli.checkup.findings import fail

    try:
        async with asyncio.timeout(CHECK_TIMEOUT):
            return await check
    except TimeoutError:
        return [
            fail(
                about, f"did not answer in {CHECK_TIMEOUT:.0f} s", "It accepts connections and hangs: see its own log."
            )
        ]
    except Exception as error:
        says = f"could not be checked: {type(error).__name__}: {error}"
        return [fail(about, says, "Check that this user may read it.")]


def _secrets(stores: "Stores | None", gateway: "Gateway | None") -> list[str]:
    """The texts that must never be printed, whatever a library puts into its errors."""
    from cli.checkup.findings import password

    urls = [value for name, value in os.environ.items() if name.startswith("PENCHANT_") and name.endswith("_URL")]
    urls += (
        [url.get_secret_value() for url in (stores.postgres_url, stores.redis_url, stores.broker_url)] if stores else []
    )
    own = gateway.secrets if gateway else ()
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
