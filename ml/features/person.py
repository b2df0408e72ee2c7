"""The text of person.sql for one engine: only where events and categories come from differs between engines.

`facts` is a query with the columns person, type, item_id, order_id, session_id (texts), micros and second (since 1970),
units (at least 1) and cents (of the line; of a rating, hundredths of its value), of events that name an item and came
before the moment. `categories` has item_id and category. Texts are compared byte by byte.
"""

from functools import cache
from pathlib import Path


@cache
def _template() -> str:
    return Path(__file__).with_name("person.sql").read_text(encoding="utf-8")


def person_sql(facts: str, categories: str, as_of: int) -> str:
    """The query for people as of a second."""
    text = "\n".join(line for line in _template().splitlines() if not line.startswith("--"))
    return text.replace("{facts}", facts).replace("{categories}", categories).replace("{as_of}", str(as_of))
