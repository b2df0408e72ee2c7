"""`penchant events`: commands about events."""

from cli.commands.dead_events import app as dead
from cli.interface import command_group

HELP = "Look after events: those that could not be stored wait for a decision under `dead`."
app = command_group(HELP)
app.add_typer(dead, name="dead")


@app.callback(help=HELP)
def events() -> None:
    """Make `dead` a command of its own, although it is the only one."""
