"""`penchant`: imports a command when it is called, so that no command waits for the imports of another."""

import os
from importlib import import_module, metadata
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from pydantic import ValidationError
from typer.core import TyperGroup

from cli.errors import REFUSED, UNREACHABLE, WRONG_COMMAND, exit_code
from cli.local.stack_files import adopt_running_stack
from core.disks import FULL, disk_full
from core.errors import PenchantError
from core.secret_files import PREFIX
from core.setting_faults import SettingsRefused, faults_in

COMMANDS = {
    "demo": "cli.commands.demo:demo",
    "up": "cli.commands.up:up",
    "migrate": "cli.commands.migrate:migrate",
    "load": "cli.commands.load:app",
    "train": "cli.commands.train:train",
    "evaluate": "cli.commands.evaluate:evaluate",
    "forecast": "cli.commands.forecast:forecast",
    "gateway": "cli.commands.gateway:gateway",
    "worker": "cli.commands.worker:worker",
    "trainer": "cli.commands.trainer:trainer",
    "beat": "cli.commands.beat:beat",
    "export": "cli.commands.export:app",
    "models": "cli.commands.models:app",
    "jobs": "cli.commands.jobs:app",
    "placements": "cli.commands.placements:app",
    "rules": "cli.commands.rules:app",
    "segments": "cli.commands.segments:app",
    "events": "cli.commands.events:app",
    "users": "cli.commands.users:app",
    "erasures": "cli.commands.erasures:app",
    "clients": "cli.commands.clients:app",
    "documents": "cli.commands.documents:app",
    "issuers": "cli.commands.issuers:app",
    "accounts": "cli.commands.accounts:app",
    "keys": "cli.commands.keys:app",
    "token": "cli.commands.token:token",
    "recommend": "cli.commands.recommend:recommend",
    "explain": "cli.commands.explain:explain",
    "readiness": "cli.commands.readiness:readiness",
    "schema": "cli.commands.schema:schema",
    "doctor": "cli.commands.doctor:doctor",
}
STARTERS = frozenset({"demo", "up"})
SERVICES = frozenset({"gateway", "worker", "trainer", "beat"})
RUNNERS = STARTERS | SERVICES | {"migrate"}
"""They run Penchant itself: whatever stops them, they end with 1, and a supervisor starts them again."""


class Commands(TyperGroup):
    """Finds a command by its name, imports it, and turns its domain errors into one line and an exit code."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Every command, in the order people meet them."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name, imported now; None when there is none."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        found = getattr(import_module(module), name)
        if not isinstance(found, typer.Typer):
            alone = typer.Typer(add_completion=False, rich_markup_mode=None)
            alone.command(cmd_name)(found)
            found = alone
        command = typer.main.get_command(found)
        command.name = cmd_name
        return command

    def invoke(self, ctx: Any) -> Any:
        """Run the command; an error of ours becomes one line on standard error and an exit code."""
        try:
            return super().invoke(ctx)
        except SettingsRefused as error:
            self._refuse(ctx, error)
        except ValidationError as error:
            self._refuse(ctx, SettingsRefused(faults_in(error)))
        except PenchantError as error:
            typer.echo(f"penchant: {error}", err=True)
            raise typer.Exit(REFUSED if ctx.invoked_subcommand in RUNNERS else exit_code(error)) from error
        except OSError as error:
            if error.errno not in FULL:
                raise
            typer.echo(f"penchant: {disk_full(error)}", err=True)
            raise typer.Exit(REFUSED) from error

    def _refuse(self, ctx: Any, error: SettingsRefused) -> NoReturn:
        typer.echo(f"penchant: {error}", err=True)
        absent = error.lacks and ctx.invoked_subcommand not in RUNNERS
        if error.lacks:
            typer.echo("No stack runs here: `make demo` and `penchant up` start one, and set them.", err=True)
        raise typer.Exit(UNREACHABLE if absent else WRONG_COMMAND) from error


app = typer.Typer(cls=Commands, add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


def _show_version(*, wanted: bool) -> None:
    if wanted:
        typer.echo(f"penchant {metadata.version('penchant')}")
        raise typer.Exit


@app.callback(help="A self-hosted real-time personalization engine.")
def entry(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """Inside a checkout where a stack runs, its addresses are the settings unless the environment says otherwise."""
    if context.invoked_subcommand not in SERVICES | {"doctor"}:
        _warn_of_unknown_settings()
    if context.invoked_subcommand not in STARTERS:
        adopt_running_stack(Path.cwd())


def _warn_of_unknown_settings() -> None:
    if any(name.upper().startswith(PREFIX) for name in os.environ):
        from core.setting_names import unknown_names, warning_of

        for name, nearest in unknown_names().items():
            typer.echo(f"penchant: warning: {warning_of(name, nearest)}", err=True)
