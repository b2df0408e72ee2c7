"""The steps of the demo: make the shop's files, load them, train, show answers. A step that was done is skipped."""

import shutil
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import typer

from cli.database import on_pool
from cli.demo.household_log import ShopFiles
from cli.gateway_client import RECOMMENDATIONS, Client, request_body
from cli.local.deployment import Deployment
from cli.local.own_client import leave_credentials, register_own_client
from cli.stack.errors import StackError
from cli.stack.processes import Command, Process, wait_until
from core import clock

CLIENT = "demo"
ITEMS_LISTED = 1000
CHECK_INTERVAL = 0.1  # seconds
TRAINING = Path(__file__).parents[2] / "requirements" / "train.txt"


class ChildFailed(StackError):
    """A step of the demo failed."""


class Demo:
    """One start of the demo."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._began = time.monotonic()
        self._data = deployment.folder.path / "data"
        self._files = ShopFiles.under(self._data)
        self._loaded = deployment.folder.path / "loaded"

    def say(self, line: str) -> None:
        """A line of progress, with the seconds since the start."""
        typer.echo(f"[{time.monotonic() - self._began:5.1f} s] {line}")

    def begin_making_files(self) -> Process | None:
        """Start to make the shop's files, while the stores start; None when they exist."""
        if self._files.events.exists():
            return None
        self.say("Reading the log of 2,469 households ...")
        words: list[str | Path] = [sys.executable, "-m", "cli.demo.household_log", self._data]
        return self._deployment.processes.start(Command(words, log=self._deployment.folder.log("household-log")))

    def load(self, making: Process | None) -> None:
        """Load items, users and events; a load that was interrupted begins again, which stores nothing twice."""
        if making is not None:
            self._finish(making)
            self.say(making.log_tail(1))
        if self._loaded.exists() and self._holds(_has_purchases):
            return
        for noun, file in (("items", self._files.items), ("users", self._files.users), ("events", self._files.events)):
            self.say(f"Loading {noun} ...")
            self._finish(self._deployment.processes.start(self._deployment.command("load", noun, file, shown=True)))
        self._loaded.touch()

    def begin_installing(self) -> Process | None:
        """Start to install the training packages, at low priority; None when they are installed."""
        done = _installed_stamp()
        if not TRAINING.exists() or (done.exists() and done.stat().st_mtime >= TRAINING.stat().st_mtime):
            return None
        self.say("Installing the training packages in the background ...")
        uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or "uv"
        words: list[str | Path] = [uv, "-q", "pip", "install", "--python", sys.executable, "--require-hashes", "-r"]
        return self._deployment.processes.start(
            Command([*words, TRAINING], log=self._deployment.folder.log("install-training"), niceness=10)
        )

    def client(self) -> Client:
        """The demo's OAuth client."""
        return register_own_client(self._deployment, CLIENT)

    def write_credentials(self, client: Client) -> None:
        """Write addresses, credentials, and the users and items with the most events, for people and programs."""
        busiest = {"users": _ids(self._files.people), "items": _ids(self._files.favourites)[:ITEMS_LISTED]}
        leave_credentials(self._deployment, client, busiest)

    def show_answer(self, client: Client) -> None:
        """Ask the gateway for the recommendations of the most active user, and show them."""
        user = _ids(self._files.people)[0]
        answer = client.recommendations(user)
        self.say(f"User {user} may want next, by {_source(answer)}:")
        for edge in answer["edges"]:
            typer.echo(f"    {edge['rank']}.  {edge['node']['title']}  ({edge['reason']['text']})")

    def train(self, client: Client, installing: Process | None) -> None:
        """Train on the loaded events, unless that was done; the gateway swaps the bundle in while it answers."""
        if self._holds(_was_judged):
            return
        try:
            self._run_training(client.base_url, installing)
        except ChildFailed as error:
            self.say(
                f"Nothing was learnt: {error}\nThe gateway goes on with what is popular; the next start trains again."
            )
            return
        if self._holds(_serves_model):
            user = _ids(self._files.people)[0]
            gateway = self._deployment.processes.named("gateway")
            wait_until(lambda: client.recommendations(user)["modelVersion"] is not None, [gateway], 120)
            self.show_answer(client)

    def _run_training(self, base_url: str, installing: Process | None) -> None:
        if installing is not None:
            self._finish(installing)
            self.say("The training packages are installed.")
        _installed_stamp().touch()
        user = _ids(self._files.people)[0]
        self.say(
            f"Training. {base_url}/graphql answers meanwhile (a browser gets a page to try queries there; "
            f".venv/bin/penchant token prints a token). Try .venv/bin/penchant recommend {user}"
        )
        training = self._deployment.command("train", "--holdout", self._files.holdout, shown=True, niceness=5)
        self._finish(self._deployment.processes.start(training))

    def show_how_to_ask(self, client: Client) -> None:
        """Show the address, a query, a `curl` command that works as printed, and how to stop."""
        body = request_body(_ids(self._files.people)[0])
        self.say(f"Ready. GraphQL: {client.base_url}/graphql (a browser gets a page to try queries there)")
        typer.echo(f"\nA query:\n\n{RECOMMENDATIONS}\n\nThe same by curl:\n")
        typer.echo(
            f"curl -s {client.base_url}/graphql -H 'Authorization: Bearer {client.token()}' "
            f"-H 'Content-Type: application/json' -d '{body}'\n"
        )
        typer.echo(
            "Credentials, users and items: .penchant/demo.json. Another token: .venv/bin/penchant token\n"
            "Ctrl-C stops everything; the next `make demo` is ready in seconds; `make clean` removes all of it."
        )

    def _finish(self, process: Process) -> None:
        """Wait for a child that ends by itself; stop when another child ends meanwhile."""
        while process.exit_code is None:
            time.sleep(CHECK_INTERVAL)
            ended = self._deployment.processes.ended()
            if ended not in (None, process):
                self._deployment.watch()
        self._deployment.processes.forget(process)
        if process.exit_code:
            words = "" if process.command.shown else f":\n{process.log_tail()}"
            raise ChildFailed(f"{process.command.name} failed with exit code {process.exit_code}{words}")

    def _holds(self, condition: Callable[[Any], Awaitable[bool]]) -> bool:
        return on_pool(condition, self._deployment.postgres_url)


async def _has_purchases(pool: Any) -> bool:
    from db.purchases import popular_items

    return bool(await popular_items(pool, clock.now() - timedelta(days=30), 1))


async def _was_judged(pool: Any) -> bool:
    """Whether a model was trained, and promoted or refused."""
    from db.serving import list_decisions

    return bool(await list_decisions(pool, 1))


async def _serves_model(pool: Any) -> bool:
    from db.serving import current_serving

    return bool(await current_serving(pool))


def _ids(file: Path) -> list[str]:
    import pyarrow.parquet as pq

    return list(pq.read_table(file).column(0).to_pylist())


def _source(answer: dict[str, Any]) -> str:
    version = answer["modelVersion"]
    return f"model {version}" if version else "what is popular (nothing was learnt yet)"


def _installed_stamp() -> Path:
    return Path(sys.prefix) / "ready-train"
