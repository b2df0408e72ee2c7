"""`penchant rules`: files of rules are compared and applied, and what they changed is listed and removed."""

import asyncio
import json
from pathlib import Path

from db.postgres import Pool
from db.rules import RULES
from tests.commands import invoke, run_penchant
from tests.running import without_settings

PAGE = Path(__file__).parents[2] / "docs" / "rules.md"


async def test_a_file_is_compared_applied_changed_and_a_rule_removed(pool: Pool, database: str, tmp_path: Path) -> None:
    async def run(*words: str, code: int = 0) -> str:
        done = await asyncio.to_thread(invoke, "rules", *words)
        assert done.exit_code == code, done.output
        return done.output

    file = tmp_path / "rules.toml"
    file.write_text(PAGE.read_text(encoding="utf-8").split("```toml\n")[1].split("```")[0], encoding="utf-8")
    assert "There are no rules" in await run("list")
    assert "There is no rule 'own-brand'" in await run("show", "own-brand", code=1)
    assert "There is no rule" in await run("show", "\udcff", code=1)  # an argument that is not UTF-8
    assert "There never was a rule" in await run("history", "\udcff", code=1)
    assert '+   kind = "SLOTS"' in await run("diff", str(file))
    assert "There are no rules" in await run("list")
    assert "own-brand  version 1" in await run("apply", str(file), "--reason", "spring window")
    assert "Nothing changes" in await run("apply", str(file))
    shown = json.loads(await run("show", "new-kettle", "--json"))
    assert (shown["version"], shown["reason"]) == (1, "spring window")
    assert shown["settings"]["when"] == {
        "placements": ["home"], "from": "2026-03-01T00:00:00Z", "to": "2026-03-15T00:00:00Z",
    }  # fmt: skip
    file.write_text('[own-brand]\nkind = "BURY"\nfactor = 2\nfilter = { brands = ["Ours"] }\n', encoding="utf-8")
    assert '-   kind = "BOOST"' in await run("diff", str(file))
    assert [each["version"] for each in json.loads(await run("apply", str(file), "--json"))] == [2]
    assert "(removed)" in await run("remove", "own-brand")
    assert "never was a rule" in await run("remove", "unheard", code=1)
    assert [each["version"] for each in json.loads(await run("history", "own-brand", "--json"))] == [3, 2, 1]
    assert "\nnew-arrivals  version 1" in await run("list")


async def test_a_file_of_very_many_rules_is_saved_as_a_whole_or_not_at_all(
    pool: Pool, database: str, tmp_path: Path
) -> None:
    file, wrong = tmp_path / "rules.toml", '["rule 1234"]\nkind = "BOOST"\nfactor = 2\n'
    rules = [f'["rule {at}"]\nkind = "PIN"\nitemId = "i{at}"\nposition = 1\n' for at in range(2_000)]
    file.write_text("".join([*rules[:1_234], wrong, *rules[1_235:]]), encoding="utf-8")
    refused = await asyncio.to_thread(invoke, "rules", "apply", str(file))
    assert refused.exit_code == 2 and "[rule 1234]: BOOST needs filter, ranges or addedWithin" in refused.stderr
    assert await RULES.newest_change(pool) == 0
    file.write_text("".join(rules), encoding="utf-8")
    applied = await asyncio.to_thread(invoke, "rules", "apply", str(file), "--json")
    assert [each["id"] for each in json.loads(applied.output)] == [f"rule {at}" for at in range(2_000)]
    moments = "SELECT count(DISTINCT changed_at) AS times, count(*) AS versions FROM rules"
    assert tuple(await pool.fetchrow(moments)) == (1, 2_000)
    file.write_text(rules[7].replace("position = 1", "position = 2") + rules[8], encoding="utf-8")
    assert "rule 7  version 2" in (await asyncio.to_thread(invoke, "rules", "apply", str(file))).output
    assert tuple(await pool.fetchrow(moments)) == (2, 2_001)


def test_a_wrong_file_is_refused_before_anything_is_connected(tmp_path: Path) -> None:
    file, factor = tmp_path / "rules.toml", '[a]\nkind = "BOOST"\naddedWithin = 3\nfactor = '
    for text, why in {
        '[a]\nkind = "PIN"\nposition = 1': "[a]: PIN needs itemId",
        f"{factor}true": "[a]: factor must be a number",
        f'{factor}"2"': "[a]: factor must be a number",
        f"{factor}2\nwhen.from = 5": "[a]: when.from must be a time",
        f"{factor}2\nwhen.from = 0001-01-01T00:00:00+12:00": "[a]: when.from lies before the year 1",
        f'{factor}2\nwhen.placements = ["\\u0000"]': "[a]: when.placements.0 must have printable",
        "a = " + "[" * 5_000 + "]" * 5_000: "is nested too deeply",
    }.items():
        file.write_text(text, encoding="utf-8")
        ended = run_penchant("rules", "apply", str(file), environment=without_settings())
        assert ended.returncode == 2 and why in ended.stderr, ended.stderr
