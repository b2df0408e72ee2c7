"""`penchant up`: the stores, the gateway and the worker on this machine, until it is stopped."""

from pathlib import Path
from typing import Annotated

import typer

from cli.own_client import leave_credentials, own_client
from cli.site import opened, serving

CLIENT = "local"


def up(
    port: Annotated[int, typer.Option(min=1, max=65535, help="The gateway's port; another when it is taken.")] = 8000,
    folder: Annotated[Path, typer.Option(help="Where everything is kept.")] = Path(".penchant"),
) -> None:
    """Run Penchant on this machine: what is not given by PENCHANT_..._URL is started here. Ctrl-C stops all of it."""
    with opened(folder, port) as site:
        site.start_stores(typer.echo)
        site.start_services()
        with serving(site):
            leave_credentials(site, own_client(site, CLIENT))
            typer.echo(f"Penchant answers at {site.base_url}/graphql; `penchant load` brings your data. Ctrl-C stops.")
            site.watch()
