"""The JSON Schemas of the event contract: generated from the models, one per version and type, for senders."""

import json
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from core.contract import VERSIONS

FOLDER: Final = Path("schemas")


class _Untitled(GenerateJsonSchema):
    """Without a title on every field: it would only repeat the name."""

    def field_title_should_be_set(self, schema: object) -> bool:
        return False


def event_schemas() -> dict[Path, str]:
    """Every schema as it is to be committed, by its file."""
    return {
        FOLDER / version / f"{type.lower()}.json": json.dumps(_schema(version, type, model), indent=2) + "\n"
        for version, models in VERSIONS.items()
        for type, model in models.items()
    }


def _schema(version: str, type: str, model: type[BaseModel]) -> dict[str, Any]:
    made = model.model_json_schema(schema_generator=_Untitled)
    return {
        "$schema": GenerateJsonSchema.schema_dialect,
        "$id": f"urn:penchant:event:{version}:{type}",
        **made,
        "title": f"{type}, version {version.removeprefix('v')}",
    }
