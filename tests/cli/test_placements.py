"""`penchant placements`: applies a file, shows what changed, and goes back."""

import asyncio
import json
from pathlib import Path

import pytest

from db.postgres import Pool
from tests.commands import invoke, run_penchant
from tests.running import without_settings

PAGE = Path(__file__).parents[2] / "docs" / "placements.md"


def example() -> str:
    """The file on the page about placements."""
    return PAGE.read_text(encoding="utf-8").split("```toml\n")[1].split("```")[0]


async def test_a_file_is_compared_applied_changed_and_reverted(pool: Pool, database: str, tmp_path: Path) -> None:
    async def run(*words: str, code: int = 0) -> str:
        done = await asyncio.to_thread(invoke, "placements", *words)
        assert done.exit_code == code, done.output
        return done.output

    file = tmp_path / "placements.toml"
    file.write_text(example(), encoding="utf-8")
    assert "No placement has settings" in await run("list")
    assert "as by default" in await run("show", "home", code=1)
    assert '+   repeat = "DUE_ONLY"' in await run("diff", str(file))
    assert "Nothing is saved" in await run("apply", str(file), "--dry-run")
    assert "No placement has settings" in await run("list")
    assert "home  version 1" in await run("apply", str(file), "--reason", "spring window")
    assert "Nothing changes" in await run("apply", str(file))
    shown = json.loads(await run("show", "home", "--json"))
    assert (shown["version"], shown["reason"], shown["settings"]["fallback"]) == (
        1,
        "spring window",
        ["NEW", "POPULAR"],
    )
    assert shown["settings"]["price"] == [{"market": "DE", "from": "5", "currency": "EUR"}]
    file.write_text('[home]\nrepeat = "HIDDEN"\n[cart]\nprice = [{to = 9.90}]\n', encoding="utf-8")
    changed = await run("diff", str(file))
    assert '-   repeat = "DUE_ONLY"' in changed and '+   repeat = "HIDDEN"' in changed and '"9.90"' in changed
    assert [each["version"] for each in json.loads(await run("apply", str(file), "--json"))] == [2, 1]
    assert "home  version 3" in await run("revert", "home")
    assert json.loads(await run("show", "home", "--json"))["settings"] == shown["settings"]
    assert "as by default" in await run("revert", "home", "--to", "0")
    assert "has no version 9" in await run("revert", "home", "--to", "9", code=1)
    assert "never had settings" in await run("revert", "unheard", code=1)
    assert [each["version"] for each in json.loads(await run("history", "home", "--json"))] == [4, 3, 2, 1]
    assert (await run("list")).startswith("cart  version 1")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[home", "is not a TOML file"),
        ("home = 1", "home is no table"),
        (
            '[home]\nrepeat = "NEVER"\nunheard = 1',
            "[home]: repeat must be one of ALLOWED, DUE_ONLY or HIDDEN; unheard is",
        ),
    ],
)
def test_a_wrong_file_is_refused_before_anything_is_connected(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "placements.toml"
    file.write_text(content, encoding="utf-8")
    ended = run_penchant("placements", "apply", str(file), environment=without_settings())
    assert ended.returncode == 2 and message in ended.stderr, ended.stderr
