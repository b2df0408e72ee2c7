"""Requests made with people's own tokens, in every table that records the requester."""

from datetime import UTC, datetime

from db.dead_events import DeadReason, NewDeadEvent, discard_dead_events, insert_dead_events, undecided_ids
from db.jobs import AFFINITY, cancel_job, job_by_id, request_job
from db.placements import save_placement
from db.postgres import Pool
from db.requests import anonymize_requests, requests_of
from db.segments import save_segment, segment_by_id
from db.serving import Model, promote, register_model

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


async def test_only_the_requests_of_a_person_are_found_and_anonymized_in_every_table(pool: Pool) -> None:
    await request_job(pool, AFFINITY, "curious", "shop for anna")
    await request_job(pool, AFFINITY, "curious", "shop for bert")
    await register_model(pool, Model("m1", AFFINITY, NOW, "digest", {}, None))
    await promote(pool, "m1", "better", {}, "shop for anna")
    dead = NewDeadEvent("k", "MESSAGE", DeadReason.FAILED, "why", 1, *(None,) * 7, b"body", NOW)
    await insert_dead_events(pool, [dead])
    await discard_dead_events(pool, await undecided_ids(pool, 1), "sent twice", "shop for anna")
    job = await request_job(pool, AFFINITY, "nightly", "beat")
    await cancel_job(pool, job.id, "shop for anna")
    await save_segment(pool, "s", "Spring", {"orders": {"min": 1}}, "shop for anna")
    await save_placement(pool, "home", lambda now: {}, "shop for anna", "quieter")
    asked = {(one["what"], one["reason"], one["by"]) for one in await requests_of(pool, ["anna"])}
    assert asked == {
        ("training", "curious", "shop for anna"),
        ("decision", "better", "shop for anna"),
        ("dead event", "sent twice", "shop for anna"),
        ("cancelled job", "nightly", "shop for anna"),
        ("segment", "Spring", "shop for anna"),
        ("version of a segment", "", "shop for anna"),
        ("placement", "quieter", "shop for anna"),
    }
    assert await anonymize_requests(pool, ["anna", "nobody"]) == 7
    assert await requests_of(pool, ["anna"]) == []
    assert len(await requests_of(pool, ["bert"])) == 1
    cancelled, segment = await job_by_id(pool, job.id), await segment_by_id(pool, "s")
    assert cancelled and cancelled.error == "cancelled by shop for an erased person"
    assert segment and segment.changed_by == "shop for an erased person"
    kept = await pool.fetchval("SELECT string_agg(job::text, '') FROM training_jobs AS job")
    assert "anna" not in kept
