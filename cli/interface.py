"""What the commands show and read alike: groups, the option --json, JSON, and who runs them."""

import getpass
import sys
from pathlib import Path
from typing import Annotated

import orjson
import typer

from cli.errors import CannotWrite

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
SecretFromStdin = Annotated[bool, typer.Option("--secret-stdin", help="Read the secret from standard input.")]


def command_group(help: str) -> typer.Typer:
    """A group of commands, which shows its help when none of them is named."""
    return typer.Typer(help=help, no_args_is_help=True, add_completion=False)


def print_json(value: object) -> None:
    """Print a value as JSON that people can read too."""
    typer.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def print_json_line(value: object) -> None:
    """Print a result as one line of JSON."""
    typer.echo(orjson.dumps(value).decode())


def write_file(file: Path, content: bytes) -> None:
    """Write a file, or to standard output where its name is -. Raises CannotWrite."""
    if str(file) == "-":
        typer.echo(content.decode(), nl=False)
        return
    try:
        file.write_bytes(content)
    except OSError as error:
        raise CannotWrite(f"{file} cannot be written: {error.strerror}.") from error


def secret_from_stdin() -> str:
    """The first line of standard input, without its line end."""
    return sys.stdin.readline().rstrip("\r\n")


def operator_of(command: str) -> str:
    """Who runs this command, for the record of decisions: the user of this machine, where it has a name."""
    try:
        return f"{command} by {getpass.getuser()}"
    except (KeyError, OSError):
        return command
