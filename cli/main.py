"""`penchant`: each command is imported when it is called, so that none waits for the imports of another."""

from importlib import import_module
from pathlib import Path
from typing import Any

import typer
from pydantic import ValidationError
from typer.core import TyperGroup

from cli.running import adopt_running_stack
from core.errors import PenchantError

COMMANDS = {
    "demo": "cli.demo:demo",
    "up": "cli.up:up",
    "migrate": "cli.migrate:migrate",
    "load": "cli.load:load",
    "train": "cli.train:train",
    "gateway": "cli.gateway:gateway",
    "worker": "cli.worker:worker",
    "trainer": "cli.trainer:trainer",
    "beat": "cli.beat:beat",
    "export": "cli.export:app",
    "models": "cli.models:app",
    "events": "cli.events:app",
    "clients": "cli.clients:app",
    "token": "cli.token:token",
    "recommend": "cli.recommend:recommend",
    "schema": "cli.schema:schema",
    "doctor": "cli.doctor:doctor",
}
STARTERS = {"demo", "up"}


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
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except PenchantError as error:
            typer.echo(f"penchant: {error}", err=True)
            raise typer.Exit(1) from error
        except ValidationError as error:
            typer.echo(f"penchant: {_settings_at_fault(error)}", err=True)
            raise typer.Exit(2) from error


app = typer.Typer(cls=Commands, add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback(help="A self-hosted real-time personalization engine.")
def entry(context: typer.Context) -> None:
    """Inside a checkout where a stack runs, its addresses are the settings unless the environment says otherwise."""
    if context.invoked_subcommand not in STARTERS:
        adopt_running_stack(Path.cwd())


def _settings_at_fault(error: ValidationError) -> str:
    """Which settings are missing or wrong, never their values."""
    faults = [f"PENCHANT_{str(fault['loc'][0]).upper()}: {fault['msg']}" for fault in error.errors() if fault["loc"]]
    said = "these settings are missing or wrong (core/settings.py explains them)\n  " + "\n  ".join(faults)
    missing = any(fault["type"] == "missing" for fault in error.errors())
    return f"{said}\nNo stack runs here: `make demo` and `penchant up` start one, and set them." if missing else said
