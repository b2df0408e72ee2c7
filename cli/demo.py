"""`penchant demo`: a year of a real shop, answered for at once from what is popular, then from what was learnt."""

import shutil
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from cli.asking import QUERY, Client, request_body
from cli.journey import Files
from cli.own_client import leave_credentials, on_pool, own_client
from cli.site import Site, opened, serving
from cli.stack.errors import StackError
from cli.stack.processes import Command, Process, wait_until
from core import clock

CLIENT = "demo"
ITEMS_LISTED = 1000
TRAINING = Path(__file__).parent.parent / "requirements" / "train.txt"
T = TypeVar("T")


def demo(
    port: Annotated[int, typer.Option(min=1, max=65535, help="The gateway's port; another when it is taken.")] = 8000,
    folder: Annotated[Path, typer.Option(help="Where everything is kept.")] = Path(".penchant"),
) -> None:
    """Run Penchant with the year of a real shop: loaded once, trained once, ready in seconds after that."""
    with opened(folder, port) as site:
        run = Demo(site)
        cooking = run.begin_cooking()
        site.start_stores(run.say)
        run.load(cooking)
        installing = run.begin_installing()
        client = run.client()
        site.start_services()
        with serving(site):
            run.write_demo_file(client)
            run.show_answer(client)
            run.learn(client, installing)
            run.show_how_to_ask(client)
            site.watch()


class ChildFailed(StackError):
    """A step of the demo failed."""


class Demo:
    """The steps of the demo. Each knows when it was done by an earlier start."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._began = time.monotonic()
        self._data = site.folder.path / "data"
        self._files = Files.under(self._data)
        self._loaded = site.folder.path / "loaded"

    def say(self, line: str) -> None:
        """A line of progress, with the seconds since the start."""
        typer.echo(f"[{time.monotonic() - self._began:5.1f} s] {line}")

    def begin_cooking(self) -> Process | None:
        """Start to make the shop's files, beside the stores; None when they are there."""
        if self._files.events.exists():
            return None
        self.say("Reading the log of 2,469 households ...")
        command = Command([sys.executable, "-m", "cli.journey", self._data], log=self._site.folder.log("journey"))
        return self._site.processes.start(command)

    def load(self, cooking: Process | None) -> None:
        """Load items, users and events; loading is idempotent, so an interrupted one simply begins again."""
        if cooking is not None:
            self._finish(cooking)
            self.say(cooking.last_words(1))
        if self._loaded.exists() and self._read(_has_purchases):
            return
        for noun, file in (("items", self._files.items), ("users", self._files.users), ("events", self._files.events)):
            self.say(f"Loading {noun} ...")
            self._finish(self._site.processes.start(self._site.command("load", noun, file, shown=True)))
        self._loaded.touch()

    def begin_installing(self) -> Process | None:
        """Start to install what training needs, with little of the processor; None when it is there."""
        done = _installed_stamp()
        if not TRAINING.exists() or (done.exists() and done.stat().st_mtime >= TRAINING.stat().st_mtime):
            return None
        self.say("Installing the training packages in the background ...")
        uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or "uv"
        words: list[str | Path] = [uv, "-q", "pip", "install", "--python", sys.executable, "--require-hashes", "-r"]
        return self._site.processes.start(
            Command([*words, TRAINING], log=self._site.folder.log("install-training"), niceness=10)
        )

    def client(self) -> Client:
        """The demo's OAuth client."""
        return own_client(self._site, CLIENT)

    def write_demo_file(self, client: Client) -> None:
        """Leave addresses, credentials and who is worth asking about where people and programs find them."""
        worth = {"users": _ids(self._files.people), "items": _ids(self._files.favourites)[:ITEMS_LISTED]}
        leave_credentials(self._site, client, worth)

    def show_answer(self, client: Client) -> None:
        """Ask the gateway for the most active person's next items, and show them."""
        user = _ids(self._files.people)[0]
        answer = client.next_items(user)
        self.say(f"What user {user} may want next, by {_source(answer)}:")
        for edge in answer["edges"]:
            typer.echo(f"    {edge['score']:7.3f}  {edge['node']['title']}  ({edge['reason']['text']})")

    def learn(self, client: Client, installing: Process | None) -> None:
        """Train on what was loaded, unless that was done; the gateway swaps the bundle in while it answers."""
        if self._read(_was_judged):
            return
        try:
            self._train(installing)
        except ChildFailed as error:
            self.say(
                f"Nothing was learnt: {error}\nThe gateway goes on with what is popular; the next start tries again."
            )
            return
        if self._read(_serves_model):
            user = _ids(self._files.people)[0]
            wait_until(lambda: client.next_items(user)["modelVersion"] is not None, [], 30)
            self.show_answer(client)

    def _train(self, installing: Process | None) -> None:
        if installing is not None:
            self._finish(installing)
            self.say("The training packages are installed.")
        _installed_stamp().touch()
        self.say("Training; the gateway answers meanwhile ...")
        training = self._site.command("train", "--holdout", self._files.holdout, shown=True, niceness=5)
        self._finish(self._site.processes.start(training))

    def show_how_to_ask(self, client: Client) -> None:
        """The address, a query, a `curl` that works as printed, and how to stop."""
        body = request_body(_ids(self._files.people)[0])
        self.say(f"Ready. GraphQL: {client.base_url}/graphql (a browser gets a page to try queries there)")
        typer.echo(f"\nA query:\n\n{QUERY}\n\nThe same by curl:\n")
        typer.echo(
            f"curl -s {client.base_url}/graphql -H 'Authorization: Bearer {client.token()}' "
            f"-H 'Content-Type: application/json' -d '{body}'\n"
        )
        typer.echo(
            "Credentials, users and items: .penchant/demo.json. Another token: .venv/bin/penchant token\n"
            "Ctrl-C stops everything; the next `make demo` is ready in seconds; `make clean` removes all of it."
        )

    def _finish(self, process: Process) -> None:
        """Wait for a child that ends by itself, while the others live on."""
        while process.exit_code is None:
            time.sleep(0.1)
            ended = self._site.processes.ended()
            if ended not in (None, process):
                self._site.watch()
        self._site.processes.forget(process)
        if process.exit_code:
            words = "" if process.command.shown else f":\n{process.last_words()}"
            raise ChildFailed(f"{process.command.name} failed with exit code {process.exit_code}{words}")

    def _read(self, ask: Callable[[Any], Awaitable[T]]) -> T:
        return on_pool(self._site, ask)


async def _has_purchases(pool: Any) -> bool:
    from db.purchases import popular_items

    return bool(await popular_items(pool, clock.now() - timedelta(days=30), 1))


async def _was_judged(pool: Any) -> bool:
    """Whether a model was trained, and promoted or refused."""
    from db.serving import list_decisions

    return bool(await list_decisions(pool, 1))


async def _serves_model(pool: Any) -> bool:
    from db.serving import current_serving

    return await current_serving(pool) is not None


def _ids(file: Path) -> list[str]:
    import pyarrow.parquet as pq

    return list(pq.read_table(file).column(0).to_pylist())


def _source(answer: dict[str, Any]) -> str:
    version = answer["modelVersion"]
    return f"model {version}" if version else "what is popular (nothing was learnt yet)"


def _installed_stamp() -> Path:
    return Path(sys.prefix) / "ready-train"
