"""The loader's checks of whole columns agree with the contract on every line: verdict, field and stored body."""

import csv
import json
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cli.loading.chunks import Reject
from cli.loading.column_checks import surely_valid
from cli.loading.columns import FIELDS, Kind
from cli.loading.events import EventReader
from cli.loading.files import Reading, chunks_of
from cli.loading.occurrences import Occurrences
from core import clock
from core.contract import Event, read_event
from core.errors import InvalidInput
from db.history import COLUMNS

GOOD = {"type": "PURCHASE", "occurredAt": "2026-01-05T12:00:00Z", "userId": "u", "itemId": "i"}
LONG = "x" * 128

ODD: list[dict[str, Any]] = [
    {},
    {"userId": None},
    {"userId": None, "anonymousId": "g"},
    {"userId": LONG},
    {"userId": LONG + "x"},
    {"userId": "🍓" * 128},
    {"userId": "🍓" * 129},
    {"userId": "nul\x00"},
    {"userId": "del\x7f"},
    {"userId": "c1\x9f"},
    {"userId": "x" * 10_000},
    {"userId": True},
    {"id": "a"},
    {"id": "a", "occurredAt": None},
    {"id": "a\nb"},
    {"source": "till"},
    {"source": "t\till"},
    {"type": None},
    {"type": "purchase"},
    {"type": "BUY"},
    {"type": "VIEW", "itemId": None},
    {"type": "SEARCH", "itemId": None},
    {"type": "SEARCH", "itemId": None, "query": "tea"},
    {"type": "SEARCH", "query": "x" * 1025},
    {"type": "SEARCH", "query": "tea\ttwo"},
    {"type": "SEARCH", "query": "nul\x00"},
    {"type": "RATING"},
    {"type": "RATING", "value": "4.5"},
    {"type": "IMPRESSION", "itemId": None},
    {"type": "IMPRESSION", "itemIds": ["a", "b"], "impressionId": "x" * 1024},
    {"type": "IMPRESSION", "itemIds": []},
    {"type": "IMPRESSION", "itemIds": ["a", ""]},
    {"type": "IMPRESSION", "itemIds": ["a"], "impressionId": "x" * 1025},
    {"itemIds": "a"},
    {"quantity": 0},
    {"quantity": -1},
    {"quantity": 1},
    {"quantity": 1_000_000},
    {"quantity": 1_000_001},
    {"quantity": "07"},
    {"quantity": 2.0},
    {"quantity": 2.5},
    {"quantity": True},
    {"quantity": "many"},
    {"unitPrice": "Infinity"},
    {"unitPrice": "-0.01"},
    {"unitPrice": "-0"},
    {"unitPrice": "0"},
    {"unitPrice": "0.00"},
    {"unitPrice": "100"},
    {"unitPrice": "007.50"},
    {"unitPrice": ".5"},
    {"unitPrice": "5."},
    {"unitPrice": "1.2345"},
    {"unitPrice": "9999999999.9999"},
    {"unitPrice": "10000000000"},
    {"unitPrice": "99999999999999"},
    {"unitPrice": "1000000", "quantity": 100_000},
    {"unitPrice": "1000000.0001", "quantity": 100_000},
    {"unitPrice": "9999999999.9999", "quantity": 11},
    {"unitPrice": 2.5},
    {"unitPrice": 3},
    {"value": "٣"},
    {"currency": "EUR"},
    {"currency": "XXX"},
    {"occurredAt": None},
    {"occurredAt": "2026-01-05"},
    {"occurredAt": "2026-01-05T12:00:00"},
    {"occurredAt": "2026-01-05T12:00:00+02:00"},
    {"occurredAt": "2026-01-05T12:00:00.123456Z"},
    {"occurredAt": "2026-01-05T12:00:00.1234567Z"},
    {"occurredAt": "2026-01-05t12:00:00z"},
    {"occurredAt": "2026-01-05T24:00:00Z"},
    {"occurredAt": "2026-01-05T12:00:60Z"},
    {"occurredAt": "2026-02-28T12:00:00Z"},
    {"occurredAt": "2026-02-29T12:00:00Z"},
    {"occurredAt": "2024-02-29T12:00:00Z"},
    {"occurredAt": "2026-04-31T12:00:00Z"},
    {"occurredAt": "1990-01-01T00:00:00Z"},
    {"occurredAt": "1989-12-31T23:59:59.999999Z"},
    {"occurredAt": "1990-01-01T00:30:00+01:00"},
    {"occurredAt": "2999-01-01T00:00:00Z"},
    {"occurredAt": "yesterday"},
    {"occurredAt": 1767614400},
    {"properties": {"a": [1, None, "ü"]}},
    {"properties": "text"},
    {"properties": {"a": "\x00"}},
    {"properties": {"a": "x" * 10_001}},
    {"orderId": "o 1", "sessionId": "s", "query": "tea"},
    {"colour": "red"},
    {"receivedAt": "2026-01-05T12:00:00Z"},
]

AS_MEANT: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"userId": "", "anonymousId": "g"}, {"userId": None}),
    ({"userId": "nan", "anonymousId": "g"}, {"userId": None}),
    ({"userId": "NULL"}, {"userId": None}),
    ({"userId": "\xa0nbsp\xa0"}, {"userId": "nbsp"}),
    ({"userId": 7}, {"userId": "7"}),
    ({"userId": 9007199254740993}, {"userId": "9007199254740993"}),
    ({"userId": 13085.0}, {"userId": "13085"}),
    ({"userId": "13085.0"}, {"userId": "13085"}),
    ({"userId": "007.0"}, {"userId": "007.0"}),
    ({"unitPrice": "NaN"}, {"unitPrice": None}),
    ({"unitPrice": "1e3"}, {"unitPrice": "1000"}),
    ({"unitPrice": " 1 "}, {"unitPrice": "1"}),
    ({"unitPrice": "1.23456"}, {"unitPrice": "1.2346"}),
    ({"unitPrice": "1,5"}, {"unitPrice": "1.5"}),
    ({"unitPrice": "US$ 5.00"}, {"unitPrice": "5", "currency": "USD"}),
    ({"unitPrice": 1e-7}, {"unitPrice": "0"}),
    ({"unitPrice": 0.12345}, {"unitPrice": "0.1234"}),
    ({"quantity": "2.0"}, {"quantity": "2"}),
    ({"currency": "eur"}, {"currency": "EUR"}),
    ({"occurredAt": "20260105T120000Z"}, {"occurredAt": "2026-01-05T12:00:00Z"}),
]
"""What a file may hold beyond the contract, and what it means there."""

Verdict = tuple[str, str | None, int | None]


def by_contract(record: dict[str, Any]) -> Verdict:
    if record.get("occurredAt") is None:
        return "rejected", "occurredAt", None
    try:
        return "accepted", None, read_event(record, source="load", received_at=None).digest
    except InvalidInput as error:
        return "rejected", error.field, None


def by_loader(path: Path) -> list[Verdict]:
    """The verdicts in the order of the lines of a file that fits one chunk."""
    with closing(Occurrences()) as occurrences, chunks_of(path, Kind.EVENTS, Reading()) as chunks:
        reader = EventReader("load", clock.now(), occurrences)
        (chunk,) = chunks
        rows, rejects = reader.rows(chunk)
    digests = stored(rows.csv)["digest"].to_pylist()
    verdicts: dict[int, Verdict] = {
        line: ("accepted", None, digest) for line, digest in zip(rows.lines.tolist(), digests, strict=True)
    }
    verdicts |= {line: ("rejected", field, None) for line, field, *_ in rejects}
    return [verdict for _, verdict in sorted(verdicts.items())]


def stored(rows: bytes) -> pa.Table:
    options = pa_csv.ReadOptions(column_names=COLUMNS)
    parsing = pa_csv.ParseOptions(newlines_in_values=True)
    return pa_csv.read_csv(pa.py_buffer(rows), options, parsing)


def test_unusual_json_lines_get_the_verdict_of_the_contract(tmp_path: Path) -> None:
    records = [{**GOOD, **odd} for odd in ODD]
    path = tmp_path / "odd.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    for record, verdict in zip(records, by_loader(path), strict=True):
        assert (record, verdict) == (record, by_contract(record))


def test_what_a_file_means_gets_the_verdict_of_the_contract(tmp_path: Path) -> None:
    path = tmp_path / "meant.jsonl"
    path.write_text("".join(json.dumps({**GOOD, **written}) + "\n" for written, _ in AS_MEANT))
    for (written, meant), verdict in zip(AS_MEANT, by_loader(path), strict=True):
        present = {name: value for name, value in {**GOOD, **written, **meant}.items() if value is not None}
        assert (written, verdict) == (written, by_contract(present))


def test_unusual_csv_lines_get_the_verdict_of_the_contract(tmp_path: Path) -> None:
    plain = [odd for odd in ODD if all(value is None or isinstance(value, str) for value in odd.values())]
    plain = [odd for odd in plain if odd.keys() <= FIELDS[Kind.EVENTS] - {"properties", "itemIds"}]
    records = [{**GOOD, **{name: value or None for name, value in odd.items()}} for odd in plain]
    names = sorted(FIELDS[Kind.EVENTS])
    path = tmp_path / "odd.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)
    assert len(records) > 50
    for record, verdict in zip(records, by_loader(path), strict=True):
        present = {name: value for name, value in record.items() if value is not None}
        assert (record, verdict) == (record, by_contract(present))


texts = st.none() | st.text(max_size=4) | st.sampled_from(["u", LONG, LONG + "x", "\x80", "é", "a\\b", 'q"', "\ud7ff"])
amounts = st.none() | st.from_regex(r"-?[0-9]{0,3}\.?[0-9]{0,6}", fullmatch=True) | st.decimals().map(str)
moments = st.datetimes(datetime(1989, 12, 30), datetime(2030, 1, 1)).map(datetime.isoformat)  # noqa: DTZ001
offsets = st.sampled_from(["Z", "+00:00", "-11:30", "", "+25:00"])
lines = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["VIEW", "PURCHASE", "RATING", "SEARCH", "view"]) | texts,
        "occurredAt": st.builds(str.__add__, moments, offsets) | texts,
        "userId": texts,
        "anonymousId": texts,
        "itemId": texts,
        "id": texts,
        "quantity": st.none() | st.integers(-1, 1_000_001).map(str) | texts,
        "unitPrice": amounts,
        "value": amounts,
        "currency": st.none() | st.sampled_from(["EUR", "SEK", "EURO"]),
        "query": texts,
    }
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(lines, min_size=1, max_size=20))
def test_the_contract_accepts_every_line_that_passes_the_checks_of_columns(records: list[dict[str, Any]]) -> None:
    names = {"occurred_at": "occurredAt", "user_id": "userId", "anonymous_id": "anonymousId", "item_id": "itemId",
             "unit_price": "unitPrice"}  # fmt: skip
    columns = {
        name: pa.array([record.get(names.get(name, name)) for record in records], pa.string())
        for name in Event.model_fields
    }
    passed, times = surely_valid(columns, clock.now(), len(records))
    for place in np.flatnonzero(passed).tolist():
        event = read_event(records[place], source="load", received_at=None)
        assert event.occurred_at == times[place].as_py()


@pytest.mark.parametrize("run", [1, 7, 1000])
def test_occurrences_are_counted_across_runs_on_disk(run: int) -> None:
    numbers = np.random.default_rng(7).integers(0, 50, 600).astype(np.uint64)
    seen: Counter[int] = Counter()
    with closing(Occurrences(run)) as occurrences:
        for part in np.split(numbers, 20):
            expected = []
            for number in part.tolist():
                expected.append(seen[number])
                seen[number] += 1
            assert occurrences.count(part).tolist() == expected


def test_generated_ids_sort_by_time_and_differ_for_equal_lines(tmp_path: Path) -> None:
    first = datetime(2026, 1, 5, tzinfo=UTC)
    records = [{**GOOD, "occurredAt": (first + timedelta(seconds=n // 2)).isoformat()} for n in range(6)]
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    with closing(Occurrences()) as occurrences, chunks_of(path, Kind.EVENTS, Reading()) as chunks:
        rows, rejects = EventReader("load", clock.now(), occurrences).rows(next(chunks))
    ids = stored(rows.csv)["id"].to_pylist()
    assert rejects == list[Reject]()
    assert len(set(ids)) == 6
    assert {len(id) for id in ids} == {32}
    assert [id[:12] for id in ids] == sorted(id[:12] for id in ids)
