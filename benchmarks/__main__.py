"""`python -m benchmarks NAME [--json FILE]`: run one benchmark; `--list` lists them, `--quick` runs the short ones."""

import argparse
import importlib
import importlib.metadata
import json
import os
import platform
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Protocol, cast

from rich.console import Console
from rich.table import Table

from benchmarks.figures import Figure

NAMES = (
    "load",
    "answer",
    "page",
    "rules",
    "events",
    "faults",
    "hostile",
    "oauth",
    "quality-journey",
    "quality-retail",
    "quality-beauty",
    "quality-ml1m",
    "quality-cold",
    "quality-variety",
    "quality-cdnow",
    "quality-churn",
    "quality-visits",
)
QUICK_MINUTES = 3.0
REPORTED_VERSIONS = (
    "numpy",
    "asyncpg",
    "redis",
    "strawberry-graphql",
    "graphql-core",
    "joserfc",
    "cryptography",
    "tensorflow-cpu",
    "uvicorn",
)


class Benchmark(Protocol):
    """A module of this folder; the first line of its docstring says what it measures."""

    __doc__: str | None
    MINUTES: float

    @staticmethod
    def run(seed: int) -> dict[str, Figure]:
        """Measure and return the figures by their public keys."""
        ...


def benchmark(name: str) -> Benchmark:
    """The module behind a public name."""
    return cast(Benchmark, importlib.import_module(f"benchmarks.{name.replace('-', '_')}"))


def report(name: str, seed: int, figures: dict[str, Figure]) -> dict[str, object]:
    """The JSON document of one run."""
    return {
        "name": name,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "versions": {package: _version(package) for package in REPORTED_VERSIONS},
        "seed": seed,
        "figures": {key: asdict(figure) for key, figure in figures.items()},
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _table(name: str, figures: dict[str, Figure]) -> Table:
    table = Table(title=name)
    for heading in ("figure", "value", "interval", "unit", "compared with"):
        table.add_column(heading, justify="right" if heading in {"value", "interval"} else "left")
    for key, figure in figures.items():
        interval = "" if figure.low is None or figure.high is None else f"{figure.low:.4g} .. {figure.high:.4g}"
        table.add_row(key, f"{figure.value:.4g}", interval, figure.unit, figure.reference or "")
    return table


def _list() -> Table:
    table = Table.grid(padding=(0, 2))
    for name in NAMES:
        module = benchmark(name)
        table.add_row(name, f"{module.MINUTES:g} min", (module.__doc__ or "").splitlines()[0])
    return table


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", nargs="?", choices=NAMES, help="the benchmark to run")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to FILE")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--list", action="store_true", help="list the benchmarks with their rough times")
    parser.add_argument("--quick", action="store_true", help=f"run all that take at most {QUICK_MINUTES:.0f} minutes")
    arguments = parser.parse_args()
    if not (arguments.name or arguments.list or arguments.quick):
        parser.error("name a benchmark, or use --list or --quick")
    return arguments


def main() -> int:
    """Run the named benchmark or the quick ones. Returns the exit code."""
    arguments, console = _arguments(), Console()
    if arguments.list:
        console.print(_list())
        return 0
    names = (
        [name for name in NAMES if benchmark(name).MINUTES <= QUICK_MINUTES] if arguments.quick else [arguments.name]
    )
    for name in names:
        figures = benchmark(name).run(arguments.seed)
        console.print(_table(name, figures))
        if arguments.json:
            arguments.json.write_text(json.dumps(report(name, arguments.seed, figures), indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
