"""Attacks at full size beside light queries of another caller: their latency, the loop's longest stretch, memory.

Every attack runs for some seconds from loopback, in a process of its own, against one gateway over the whole demo log.
Beside it another process sends light queries at a steady pace, and asks for tokens. The figures are the worst over all
attacks. A stretch is CPU of the loop's thread, see `loop_probe`; latencies are wall time, from when a call was due.

Memory is the gateway's own, after the caches were filled and again after all attacks. At the end, random operations
made from the schema are sent with all scopes; `internal_errors` counts every answer in the whole run that says that the
gateway failed, and every connection that it closed in place of an answer to a random operation.

`python -m benchmarks.hostile PREFIX ...` runs the attacks whose names begin so; `fuzz` runs the random operations.
"""

import asyncio
import multiprocessing
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import typer

from api.graphql.schema import SCHEMA
from benchmarks import hostile_documents, hostile_floods, hostile_http, hostile_inputs, hostile_websockets, light_caller
from benchmarks.figures import Figure
from benchmarks.hostile_fuzz import Fuzzer
from benchmarks.hostile_site import AttackedSite, attacked_site
from benchmarks.hostile_traffic import ANSWER_TIMEOUT, Send, Target, Traffic
from benchmarks.light_caller import LightCalls

MINUTES = 9.0
SECONDS = 2.5  # of each attack
AFTER = 0.5  # seconds that the light queries go on after it
LONGER = {
    "documents/many": 20.0,
    "floods/windows": 6.0,
    "floods/windows-and-leave": 6.0,
    "http/100-mb-heads": 5.0,
    "http/websockets": 20.0,
}
OPERATIONS = 20_000
FUZZ = "fuzz"
SAMPLED = 0.5  # seconds between two looks at the memory
SETTLE = 20.0  # seconds in which memory may come back
STRETCH_MS = 50.0  # from here on the stack is shown


async def _send_nothing(traffic: Traffic) -> None:
    """No attack: how the light queries fare on this machine."""


ATTACKS: dict[str, Callable[[Target], Send]] = {
    "calm": lambda _: _send_nothing,
    **hostile_inputs.ATTACKS,
    **hostile_documents.ATTACKS,
    **hostile_http.ATTACKS,
    **hostile_websockets.ATTACKS,
    **hostile_floods.ATTACKS,
}


@dataclass(frozen=True, slots=True)
class Result:
    """What one attack did to the gateway."""

    name: str
    answers: Counter[str]
    faults: list[str]
    unanswered: list[str]
    light: LightCalls
    stretch_ms: float
    stack: list[str]
    memory_mb: float
    added_mb: float  # at the most, while it ran


def run(seed: int) -> dict[str, Figure]:
    """All attacks, then the random operations."""
    with attacked_site(seed) as site:
        _fill_caches(site)
        before = _settled_memory(site)
        results = attack(site, list(ATTACKS))
        after = _settled_memory(site)
        fuzzed = _fuzz(site, seed, OPERATIONS)
        errors = site.logged_errors()
    for error, count in errors.most_common(20):
        typer.echo(f"logged {count} times: {error}")
    return {
        **figures(results),
        "memory_ratio": Figure(after / before, "x", reference=f"limit 1.2; before: {before:.0f} MB"),
        "internal_errors": Figure(
            fuzzed + sum(len(result.faults) for result in results) + len(site.restarts), "answers", reference="limit 0"
        ),
        "logged_errors": Figure(errors.total(), "lines", reference="errors in the gateway's log; limit 0"),
    }


def figures(results: Sequence[Result]) -> dict[str, Figure]:
    """The worst over all attacks, each with the attack's name."""
    p99 = max(results, key=lambda result: result.light.p99)
    worst = max(results, key=lambda result: result.light.worst)
    stretch = max(results, key=lambda result: result.stretch_ms)
    failed = sum(len(result.light.failed) for result in results)
    sockets = next((result for result in results if result.answers[hostile_websockets.BEGAN]), None)
    return {
        "light_p99_ms": Figure(p99.light.p99, "ms", reference=f"limit 100; {p99.name}"),
        "light_worst_ms": Figure(worst.light.worst, "ms", reference=f"limit 250; {worst.name}"),
        "light_failed": Figure(failed, "calls", reference="light calls without an answer, or with an error; limit 0"),
        "longest_stretch_ms": Figure(stretch.stretch_ms, "ms", reference=f"limit {STRETCH_MS:g}; {stretch.name}"),
        **({} if sockets is None else {"websocket_kb": _kb_each(sockets)}),
    }


def _kb_each(result: Result) -> Figure:
    """What a WebSocket takes that has begun and is idle."""
    began = result.answers[hostile_websockets.BEGAN]
    return Figure(result.added_mb * 1_000 / began, "kB", reference=f"the gateway's memory for each of {began:,}")


def attack(site: AttackedSite, names: Sequence[str]) -> list[Result]:
    """Run these attacks, one after the other, and print a line about each."""
    with _peers(site) as (attacker, light):
        return [_show(_attack(site, name, attacker, light)) for name in names]


def _attack(site: AttackedSite, name: str, attacker: Connection, light: Connection) -> Result:
    attacker.send(name)
    attacker.recv()
    site.wait_until_idle()
    site.longest.reset()
    seconds = LONGER.get(name, SECONDS)
    light.send(seconds + AFTER)
    attacker.send(seconds)
    before = most = site.memory_mb
    while not attacker.poll(SAMPLED):
        most = max(most, site.memory_mb)
    answers, faults, unanswered = attacker.recv()
    calls = light.recv()
    site.wait_until_idle()
    return Result(
        name=name,
        answers=answers,
        faults=faults,
        unanswered=unanswered,
        light=calls,
        stretch_ms=site.longest.seconds * 1000,
        stack=site.longest.stack,
        memory_mb=site.memory_mb,
        added_mb=most - before,
    )


def _show(result: Result) -> Result:
    light, answers = result.light, " ".join(f"{status}:{count}" for status, count in sorted(result.answers.items()))
    typer.echo(
        f"{result.name:32} p99 {light.p99:7.0f} ms  worst {light.worst:7.0f} ms  stretch {result.stretch_ms:7.0f} ms"
        f"  {result.memory_mb:5.0f} MB, +{result.added_mb:.0f}  {answers}"
    )
    for fault in result.faults:
        typer.echo(f"    failed: {fault}")
    for request in list(dict.fromkeys(result.unanswered))[:3]:
        typer.echo(f"    no answer in {ANSWER_TIMEOUT:g} s to {request}")
    for failure in light_caller.first_failures([light]):
        typer.echo(f"    a light call, one of {len(light.failed)}: {failure}")
    if result.stretch_ms > STRETCH_MS:
        for call in result.stack:
            typer.echo(f"    in {call.removeprefix(f'{Path.cwd()}/')}")
    return result


@contextmanager
def _peers(site: AttackedSite) -> Iterator[tuple[Connection, Connection]]:
    """The attacker and the honest caller, each in its own process."""
    with (
        _peer(_serve_attacks, site.target) as attacker,
        _peer(light_caller.serve, site.honest_target, site.token_request) as light,
    ):
        yield attacker, light


@contextmanager
def _peer(serve: Callable[..., None], *arguments: Any) -> Iterator[Connection]:
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=serve, args=(theirs, *arguments), daemon=True)
    process.start()
    try:
        yield ours
    finally:
        process.terminate()
        process.join()


def _serve_attacks(pipe: Connection, target: Target) -> None:
    """For each name: build the attack, wait for the seconds, attack, send the answers back."""
    os.nice(5)
    while True:
        send = ATTACKS[pipe.recv()](target)
        pipe.send("built")
        pipe.send(asyncio.run(_send_for(send, target, pipe.recv())))


async def _send_for(send: Send, target: Target, seconds: float) -> tuple[Counter[str], list[str], list[str]]:
    traffic = Traffic(target, asyncio.get_running_loop().time() + seconds)
    try:
        async with asyncio.timeout(seconds + ANSWER_TIMEOUT):
            await send(traffic)
    except (OSError, TimeoutError) as error:
        traffic.answers[type(error).__name__] += 1
    return traffic.answers, traffic.faults, traffic.unanswered


def _fill_caches(site: AttackedSite) -> None:
    """What a busy day fills: documents, tokens, lists of people; and one of each attack's allowed inputs."""
    with _peers(site) as (attacker, light):
        for name in ("variables/allowed", "floods/dear-queries"):
            attacker.send(name)
            attacker.recv()
            attacker.send(3.0)
            attacker.recv()
        light.send(3.0)
        light.recv()


def _settled_memory(site: AttackedSite) -> float:
    """The gateway's memory, once it does not shrink any more."""
    site.wait_until_idle()
    deadline, found = monotonic() + SETTLE, [site.memory_mb]
    while monotonic() < deadline and (len(found) < 6 or found[-1] < found[-6] * 0.99):
        sleep(0.5)
        found.append(site.memory_mb)
    return found[-1]


def _fuzz(site: AttackedSite, seed: int, operations: int) -> int:
    """Send random operations and requests; print and count the failures."""
    site.lift_limits()
    fuzzer = Fuzzer(site.target, SCHEMA._schema, seed, site.tokens)
    found = asyncio.run(fuzzer.send(operations))
    typer.echo(f"{operations} random operations of seed {seed}: {dict(found.answers.most_common())}")
    for kind, count in found.failures.most_common():
        typer.echo(f"failed {count} times: {kind}\n    {asyncio.run(fuzzer.smallest(kind))}")
    return found.failures.total()


def main(prefixes: Sequence[str], seed: int = 7) -> None:
    """Run some of the attacks, without figures."""
    names = [name for name in ATTACKS if name.startswith(tuple(prefixes))]
    with attacked_site(seed) as site:
        if names:
            _fill_caches(site)
            before = _settled_memory(site)
            attack(site, names)
            typer.echo(f"memory: {before:.0f} MB before, {_settled_memory(site):.0f} MB after")
        if FUZZ in prefixes:
            _fuzz(site, seed, OPERATIONS)
        for error, count in site.logged_errors().most_common(20):
            typer.echo(f"logged {count} times: {error}")


if __name__ == "__main__":
    main(sys.argv[1:] or [""])
