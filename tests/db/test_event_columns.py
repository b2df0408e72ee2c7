"""The table of events, compared with the JSON Schemas of the event contract."""

import json
from pathlib import Path
from typing import Any

from pydantic.alias_generators import to_camel

from db.postgres import Pool

SCHEMAS: list[dict[str, Any]] = [
    json.loads(path.read_text()) for path in sorted((Path(__file__).parents[2] / "schemas" / "v1").glob("*.json"))
]
ALWAYS = {"type", "id", "source", "occurredAt"}  # given, or minted
KINDS = {
    "string": "text",
    "integer": "integer",
    "number": "numeric",
    "object": "jsonb",
    "array": "ARRAY",
    "date-time": "timestamp with time zone",
}


def kind_of(field: dict[str, Any]) -> str:
    """The column that holds what the field may be, but for null."""
    first = field.get("anyOf", [field])[0]
    return "USER-DEFINED" if "const" in first else KINDS[first.get("format") or first["type"]]


async def test_every_field_has_a_column_of_the_right_type_that_is_not_stricter(pool: Pool) -> None:
    rows = await pool.fetch(
        "SELECT column_name, is_nullable, data_type FROM information_schema.columns"
        " WHERE table_schema = 'public' AND table_name = 'events'"
    )
    columns = {to_camel(row["column_name"]): row for row in rows}
    assert SCHEMAS
    for schema in SCHEMAS:
        for name, field in schema["properties"].items():
            assert columns[name]["data_type"] == kind_of(field), (schema["title"], name)
            assert columns[name]["is_nullable"] == "YES" or name in ALWAYS, (schema["title"], name)


async def test_the_event_types_are_those_of_the_schemas(pool: Pool) -> None:
    labels = await pool.fetchval("SELECT enum_range(NULL::event_type)::text[]")
    assert set(labels) == {schema["properties"]["type"]["const"] for schema in SCHEMAS}
