"""`penchant events`: what became of events."""

import typer

from cli.dead_events import app as dead

app = typer.Typer(help="Look after events.", no_args_is_help=True, add_completion=False)
app.add_typer(dead, name="dead")


@app.callback()
def events() -> None:
    """Look after events: those that could not be stored wait for a decision under `dead`."""
