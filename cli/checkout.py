"""What a demo checkout knows about itself: `.penchant/demo.json`, here or in a folder above."""

import json
from pathlib import Path
from typing import Any

DEMO = Path(".penchant/demo.json")


def read_demo(start: Path | None = None) -> dict[str, Any] | None:
    """The addresses and credentials of the demo, None outside of a checkout whose demo was started."""
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        try:
            return dict(json.loads((folder / DEMO).read_text()))
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            continue
    return None
