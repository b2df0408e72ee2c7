"""A shop under attack: a loaded site whose gateway measures its event loop, and the clients that use it."""

import base64
import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic, sleep
from urllib.parse import urlencode, urlsplit

import pyarrow.parquet as pq

from api.oauth.clients.registration import register
from api.oauth.grant_types import ANONYMOUS_ID, CLIENT_CREDENTIALS, TOKEN_EXCHANGE, USER_ID
from benchmarks.gateway_connection import BROKEN, GatewayConnection
from benchmarks.hostile_traffic import Target
from benchmarks.loop_probe import LongestStretch
from benchmarks.processes import own_memory_mb
from benchmarks.shop import busiest_users, loaded_site
from cli.database import on_pool
from cli.demo.household_log import ShopFiles
from cli.gateway_client import Client, answers
from cli.local.deployment import Deployment
from cli.stack.errors import StackError
from cli.stack.processes import Process, wait_until
from db.clients import Client as RegisteredClient
from db.clients import create_client
from db.rate_limits import ClientLimits, set_client_limits
from engine.scopes import SCOPES

HONEST, HOSTILE = "honest", "hostile"
EXCHANGE = {"grant_type": TOKEN_EXCHANGE}
TTL = 86_400  # seconds
START_TIMEOUT = 60.0  # seconds
IDLE = 0.1  # seconds in which an idle gateway answers
LIMITS_KNOWN = 5.0  # seconds until the gateway knows the limits of a client
TIMEOUT = 120.0  # seconds that the gateway may need to answer again


@dataclass(frozen=True)
class AttackedSite:
    """The site, its gateway's process and the probe of its event loop."""

    site: Deployment
    gateway: Process
    longest: LongestStretch
    honest: Client
    hostile: Client
    target: Target
    restarts: list[int | None] = field(default_factory=list)  # its exit codes; None where it hung

    @property
    def memory_mb(self) -> float:
        """The gateway's own memory."""
        return own_memory_mb(self.gateway.pid)

    @property
    def tokens(self) -> list[str]:
        """Tokens of the hostile client: most with every scope, some with one, of a person, of a guest."""
        person, guest = (
            {**EXCHANGE, "subject_token": "1", "subject_token_type": kind} for kind in (USER_ID, ANONYMOUS_ID)
        )
        few = {"grant_type": CLIENT_CREDENTIALS, "scope": "catalog:read"}
        named = {**person, "scope": "recommendations:read events:write"}
        return [self.target.token] * 12 + [self.hostile.token(form) for form in (person, guest, few, named)]

    @property
    def honest_target(self) -> Target:
        """The gateway as the honest client calls it."""
        return replace(self.target, token=self.honest.token())

    @property
    def token_request(self) -> bytes:
        """How the honest client asks for a token."""
        credentials = base64.b64encode(f"{HONEST}:{self.honest.secret}".encode()).decode()
        form = urlencode({"grant_type": CLIENT_CREDENTIALS}).encode()
        kind = "Content-Type: application/x-www-form-urlencoded"
        return self.target.request("POST", "/oauth/token", form, f"Authorization: Basic {credentials}", kind)

    def wait_until_idle(self) -> None:
        """Wait until the gateway answers at once again, three times in a row."""
        connection = GatewayConnection(self.site.base_url, self.target.token, TIMEOUT)
        body, times = json.dumps({"query": "{ __typename }"}), list[float]()

        def idle() -> bool:
            began = monotonic()
            with suppress(*BROKEN):
                connection.post("/graphql", body)
            times.append(monotonic() - began)
            return len(times) >= 3 and max(times[-3:]) < IDLE

        try:
            wait_until(idle, [self.gateway], TIMEOUT)
        except StackError:  # it ended, or nothing comes back: the next attack needs one that answers
            self.restarts.append(self.gateway.exit_code)
            self.gateway.kill()
            self.gateway.restart()
            wait_until(lambda: answers(f"{self.site.base_url}/readyz"), [self.gateway], TIMEOUT)
        finally:
            connection.close()

    def lift_limits(self) -> None:
        """Let the hostile client ask for much more, so that its requests reach the code behind the limits."""
        limits = ClientLimits("1000000000/minute")
        on_pool(lambda pool: set_client_limits(pool, HOSTILE, limits), self.site.postgres_url)
        sleep(LIMITS_KNOWN)

    def logged_errors(self) -> Counter[str]:
        """How often the gateway logged each error, with the last line of its traceback."""
        found: Counter[str] = Counter()
        for line in self.gateway.command.log.read_text(errors="replace").splitlines():
            if '"level": "error"' in line or '"level": "critical"' in line:
                found[_error_of(line)] += 1
        return found


def _error_of(line: str) -> str:
    try:
        entry = json.loads(line)
    except ValueError:
        return line[:200]
    traceback = str(entry.get("exception", "")).strip().splitlines()
    return f"{entry.get('event')}: {traceback[-1][:200] if traceback else ''}"


@contextmanager
def attacked_site(seed: int) -> Iterator[AttackedSite]:
    """A site with the shop's data that answers while the block runs."""
    with loaded_site(seed) as site:
        secret = site.folder.secret("client")
        on_pool(lambda pool: create_client(pool, _registered(HONEST, secret)), site.postgres_url)
        on_pool(lambda pool: create_client(pool, _registered(HOSTILE, secret[::-1])), site.postgres_url)
        stretch = LongestStretch(site.folder.path / "longest-stretch")
        gateway = _start(site, site.folder.path / "longest-stretch")
        honest, hostile = Client(site.base_url, HONEST, secret), Client(site.base_url, HOSTILE, secret[::-1])
        yield AttackedSite(site, gateway, stretch, honest, hostile, _target(site, hostile))


def _registered(id: str, secret: str) -> RegisteredClient:
    return register(id, secret, grants=[CLIENT_CREDENTIALS, TOKEN_EXCHANGE], scope=" ".join(SCOPES), ttl=TTL)


def _start(site: Deployment, probe: Path) -> Process:
    """Start worker and gateway, the latter with a probe on its loop; it answers when this returns."""
    command = site.command("gateway")
    words: list[str | Path] = [sys.executable, "-m", "benchmarks.loop_probe", probe, "gateway"]
    gateway = site.processes.start(replace(command, words=words, folder=Path.cwd()))
    site.processes.start(site.command("worker"))
    wait_until(lambda: answers(f"{site.base_url}/readyz"), [gateway], START_TIMEOUT)
    return gateway


def _target(site: Deployment, client: Client) -> Target:
    address, users = urlsplit(site.base_url), busiest_users(site)
    items = pq.read_table(ShopFiles.under(site.folder.path / "data").favourites).column(0).to_pylist()
    return Target(
        host=address.hostname or "",
        port=address.port or 80,
        token=client.token(),
        client=client.id,
        secret=client.secret,
        honest=HONEST,
        users=users,
        items=[str(item) for item in items[:1000]],
    )
