"""`penchant rules`: lists, shows, compares, applies and removes what a merchandiser decides about items."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.errors import Refused
from cli.interface import AsJson, command_group
from cli.settings_files import DryRun, First, Reason, Settings, SettingsCommands

if TYPE_CHECKING:
    from db.postgres import Pool
    from db.versioned_settings import Difference, SettingsTable, StoredSettings

app = command_group("List, show, compare, apply and remove what a merchandiser decides about items.")
RuleId = Annotated[str, typer.Argument(metavar="ID")]
TomlFile = Annotated[Path, typer.Argument(metavar="FILE.toml", help="A table for each rule.")]


def _table() -> "SettingsTable":
    from db.rules import RULES

    return RULES


def _check(id: str, settings: Settings) -> Settings:
    from engine.rules.changing import check_rule_id, checked

    check_rule_id(id)
    return checked(settings)


async def _replace(pool: "Pool", wanted: dict[str, Settings], who: str, reason: str | None) -> "list[Difference]":
    from engine.rules.changing import replace_rules

    return await replace_rules(pool, wanted, who, reason)


_COMMANDS = SettingsCommands("rules", "removed", _table, _check, _replace)


@app.command("list")
def list_all(as_json: AsJson = False) -> None:
    """List all rules."""
    _COMMANDS.list_all("There are no rules: `penchant rules apply` saves some.", as_json=as_json)


@app.command()
def show(rule_id: RuleId, as_json: AsJson = False) -> None:
    """Show a rule, and who changed it when and why."""
    _COMMANDS.show(rule_id, f"There is no rule {rule_id!r}.", as_json=as_json)


@app.command()
def history(rule_id: RuleId, first: First = 20, as_json: AsJson = False) -> None:
    """List the versions of a rule, newest first."""
    _COMMANDS.history(rule_id, first, f"There never was a rule {rule_id!r}.", as_json=as_json)


@app.command()
def diff(file: TomlFile, as_json: AsJson = False) -> None:
    """Show what `apply` would change. Ends with 0 whether or not there is anything."""
    _COMMANDS.apply(file, None, dry_run=True, as_json=as_json)


@app.command()
def apply(file: TomlFile, reason: Reason = None, dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Save the rules in a file, all or none: each table is a whole rule. Others stay as they are.

    What is as in the file already gets no new version, so that it can be applied again and again.
    """
    _COMMANDS.apply(file, reason, dry_run=dry_run, as_json=as_json)


@app.command()
def remove(rule_id: RuleId, reason: Reason = None, as_json: AsJson = False) -> None:
    """Remove a rule; its history is kept."""
    from engine.rules.changing import replace_rule

    who = _COMMANDS.operator

    async def change(pool: "Pool") -> "StoredSettings":
        removed = await replace_rule(pool, rule_id, None, who, reason)
        if removed is None:
            raise Refused(f"There never was a rule {rule_id!r}.")
        return removed

    _COMMANDS.change(change, as_json=as_json)
