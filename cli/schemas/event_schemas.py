"""The JSON Schemas of the event contract: generated from the models, one for each version and type."""

import json
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from core.contract import VERSIONS

FOLDER: Final = Path("schemas")


class _WithoutTitles(GenerateJsonSchema):
    """Writes no title on a field: it would only repeat the name."""

    def field_title_should_be_set(self, schema: object) -> bool:
        return False


def event_schemas() -> dict[Path, str]:
    """The text of every schema, by the file it is committed in."""
    return {
        FOLDER / version / f"{type.lower()}.json": json.dumps(_schema(version, type, model), indent=2) + "\n"
        for version, models in VERSIONS.items()
        for type, model in models.items()
    }


def _schema(version: str, type: str, model: type[BaseModel]) -> dict[str, Any]:
    made = model.model_json_schema(schema_generator=_WithoutTitles)
    return {
        "$schema": GenerateJsonSchema.schema_dialect,
        "$id": f"urn:penchant:event:{version}:{type}",
        **made,
        "title": f"{type}, version {version.removeprefix('v')}",
    }
