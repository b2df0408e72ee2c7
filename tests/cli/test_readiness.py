"""`penchant readiness`: what it prints."""

import asyncio
import json

from db.postgres import Pool
from tests.commands import invoke


async def test_an_empty_shop_is_told_what_is_missing(pool: Pool, database: str) -> None:
    shown = await asyncio.to_thread(invoke, "readiness")
    assert shown.exit_code == 0, shown.output
    assert "0 purchases are stored." in shown.output
    assert "recommendations: not enough.\n  - 0 of 1 purchases that name an item of the catalogue\n" in shown.output
    assert "Meanwhile: what most people bought lately" in shown.output


async def test_json_has_every_requirement(pool: Pool, database: str) -> None:
    found = json.loads((await asyncio.to_thread(invoke, "readiness", "--json")).output)
    subjects = ["RECOMMENDATIONS", "SIMILAR", "BOUGHT_TOGETHER", "FORECASTS", "SEQUENCE"]
    assert [model["subject"] for model in found["models"]] == subjects
    assert set(found["models"][0]["requirements"][0]) == {"have", "need", "words"}
