"""`penchant users merge`: two ids become one person; a merge that contradicts an earlier one is refused."""

import asyncio
import json
import os
import subprocess

from core.settings import Stores
from db.merged_users import owners_of_merged
from db.postgres import Pool
from tests.commands import run_penchant


async def test_two_users_are_merged_and_a_circle_is_refused(stores: Stores, pool: Pool) -> None:
    names = ("postgres_url", "redis_url", "broker_url")
    addresses = {f"PENCHANT_{name.upper()}": getattr(stores, name).get_secret_value() for name in names}

    def merge(*words: str) -> subprocess.CompletedProcess[str]:
        return run_penchant("users", "merge", *words, environment={**os.environ, **addresses})

    done = await asyncio.to_thread(merge, "old", "anna", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"user": "anna"}), done.stderr
    again = await asyncio.to_thread(merge, "old", "anna")
    assert (again.returncode, again.stdout) == (0, "old and anna are the user anna now.\n")
    refused = await asyncio.to_thread(merge, "anna", "old")
    assert refused.returncode == 1 and "was merged into fromId before" in refused.stderr
    assert await owners_of_merged(pool) == {"old": "anna"}
