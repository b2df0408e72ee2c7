"""`penchant up`: runs the stores and every part of Penchant on this machine, until it is stopped."""

from pathlib import Path
from typing import Annotated

import typer

from cli.local.deployment import open_deployment
from cli.local.own_client import leave_credentials, register_own_client

CLIENT = "local"

Port = Annotated[int, typer.Option(min=1, max=65535, help="The gateway's port; another one when it is taken.")]
Folder = Annotated[Path, typer.Option(help="The folder for data, logs and secrets.")]


def up(port: Port = 8000, folder: Folder = Path(".penchant")) -> None:
    """Run Penchant on this machine, with every store that no PENCHANT_..._URL names. Ctrl-C stops all of it."""
    with open_deployment(folder, port) as deployment:
        deployment.start_stores(typer.echo)
        deployment.start_services()
        with deployment.published():
            leave_credentials(deployment, register_own_client(deployment, CLIENT))
            url = deployment.base_url
            typer.echo(f"Penchant answers at {url}/graphql; `penchant load` brings your data. Ctrl-C stops.")
            deployment.start_background()
            deployment.watch()
