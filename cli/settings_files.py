"""What the commands about settings with versions share: they list, show and compare them, and apply files of them."""

import difflib
import tomllib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from cli.database import on_pool
from cli.errors import Refused, WrongCommand, refusals
from cli.interface import operator_of, print_json, print_json_line

if TYPE_CHECKING:
    from db.postgres import Pool
    from db.versioned_settings import Difference, SettingsTable, StoredSettings

Settings = dict[str, Any]
Reason = Annotated[str | None, typer.Option(help="Why, for the record.")]
First = Annotated[int, typer.Option(min=1, max=1_000, help="How many versions.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")]
_LARGEST = 20_000_000  # bytes of a file


@dataclass(frozen=True)
class SettingsCommands:
    """Things with settings. What reads and stores them is imported when it is used, so that other commands start fast.

    `check` raises InvalidInput for a wrong id or wrong settings. `replace` saves checked settings by id, all or none.
    `default` says what is without settings.
    """

    plural: str
    default: str
    table: "Callable[[], SettingsTable]"
    check: Callable[[str, Settings], Settings]
    replace: "Callable[[Pool, dict[str, Settings], str, str | None], Awaitable[list[Difference]]]"

    @property
    def operator(self) -> str:
        """Who runs the command."""
        return operator_of(f"penchant {self.plural}")

    def list_all(self, none: str, *, as_json: bool) -> None:
        """Print all; `none` where there are none."""

        async def read(pool: "Pool") -> "list[StoredSettings]":
            table = self.table()
            return await table.listed(pool, table.most)

        self._print_all(on_pool(read), none, as_json=as_json)

    def show(self, id: str, none: str, *, as_json: bool) -> None:
        """Print the settings of one. Raises Refused with `none` where it never had any."""

        async def read(pool: "Pool") -> "StoredSettings | None":
            return await self.table().by_id(pool, id)

        found = on_pool(read) if id.isprintable() else None
        if found is None:
            raise Refused(none)
        if as_json:
            print_json(_document(found))
            return
        typer.echo(self._line(found))
        typer.echo("\n".join(self._lines_of(found.settings)))

    def history(self, id: str, first: int, none: str, *, as_json: bool) -> None:
        """Print versions, newest first. Raises Refused with `none` where there are none."""

        async def read(pool: "Pool") -> "list[StoredSettings]":
            return await self.table().versions(pool, id, first)

        found = on_pool(read) if id.isprintable() else None
        if not found:
            raise Refused(none)
        self._print_all(found, "", as_json=as_json)

    def change(self, work: "Callable[[Pool], Awaitable[StoredSettings]]", *, as_json: bool) -> None:
        """Run a change and print what it saved."""
        with refusals():
            saved = on_pool(work)
        if as_json:
            print_json_line(_document(saved))
        else:
            typer.echo(self._line(saved))

    def apply(self, file: Path, reason: str | None, *, dry_run: bool, as_json: bool) -> None:
        """Save the settings in a file, all or none, or only show what would change.

        What is as in the file gets no version.
        """
        wanted, who = self._read(file), self.operator

        async def change(pool: "Pool") -> "list[Difference]":
            if dry_run:
                return await self.table().differences(pool, wanted)
            return await self.replace(pool, wanted, who, reason)

        with refusals():
            changes = on_pool(change)
        if as_json:
            print_json(
                [
                    {
                        "id": one.id,
                        "version": None if dry_run else one.version,
                        "before": one.before,
                        "after": one.after,
                    }
                    for one in changes
                ]
            )
            return
        for one in changes:
            typer.echo(f"{one.id}{'' if dry_run else f'  version {one.version}'}")
            typer.echo("\n".join(self._difference(one.before, one.after)))
        if not changes:
            typer.echo(f"Nothing changes: all {self.plural} of the file are as it says.")
        elif dry_run:
            typer.echo("Nothing is saved: this only shows what would change.")

    def _read(self, file: Path) -> dict[str, Settings]:
        """The settings in a file, checked, by id. Raises WrongCommand naming every wrong field."""
        from core.errors import InvalidInput

        try:
            content = file.read_bytes()
            if len(content) > _LARGEST:
                raise WrongCommand(f"{file} has more than {_LARGEST:,} bytes.")
            tables = tomllib.loads(content.decode(), parse_float=Decimal)
        except OSError as error:
            raise WrongCommand(f"{file} cannot be read: {error.strerror}.") from None
        except ValueError as error:  # not UTF-8, or not TOML
            raise WrongCommand(f"{file} is not a TOML file: {error}") from None
        except RecursionError:
            raise WrongCommand(f"{file} is nested too deeply.") from None
        wanted = dict[str, Settings]()
        for id, table in tables.items():
            if not isinstance(table, Mapping):
                raise WrongCommand(f"{file}: {id} is no table. Write [{id}], then its settings.")
            try:
                wanted[id] = self.check(id, dict(table))
            except InvalidInput as error:
                raise WrongCommand(f"{file}, [{id}]: {error}") from None
        return wanted

    def _print_all(self, found: "list[StoredSettings]", none: str, *, as_json: bool) -> None:
        if as_json:
            print_json([_document(each) for each in found])
            return
        for each in found:
            typer.echo(self._line(each))
        if not found:
            typer.echo(none)

    def _line(self, stored: "StoredSettings") -> str:
        why = "" if stored.reason is None else f": {stored.reason}"
        default = f"  ({self.default})" if stored.settings is None else ""
        changed = f"{stored.changed_at:%F %R} {stored.changed_by}"
        return f"{stored.id}  version {stored.version}  {changed}{why}{default}"

    def _lines_of(self, settings: Settings | None) -> list[str]:
        """A line for each setting."""
        if not settings:
            return [f"  {self.default}"]
        return [f"  {name} = {orjson.dumps(value).decode()}" for name, value in sorted(settings.items())]

    def _difference(self, before: Settings | None, after: Settings) -> list[str]:
        compared = difflib.ndiff([] if before is None else self._lines_of(before), self._lines_of(after))
        return [line for line in compared if not line.startswith("?")]


def _document(stored: "StoredSettings") -> dict[str, Any]:
    return {
        "id": stored.id,
        "version": stored.version,
        "settings": stored.settings,
        "changed_at": stored.changed_at,
        "changed_by": stored.changed_by,
        "reason": stored.reason,
    }
