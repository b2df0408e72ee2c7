"""Records of files as patches of items, in the words of the contract."""

from typing import Any

import pytest

from cli.loading.patches import item_of
from core.errors import InvalidInput


def test_prices_of_nested_offers_may_be_numbers_in_a_file() -> None:
    """Columns of Parquet are floats; over HTTP a price with a fraction is a text."""
    offers = [{"market": "de", "price": 0.1 + 0.2, "listPrice": 12}, {"market": "uk", "price": "2.50"}]
    read: Any = item_of({"id": "tea", "offers": offers})["offers"]
    assert [(str(offer["price"]), str(offer.get("list_price"))) for offer in read] == [("0.3", "12"), ("2.50", "None")]
    short: Any = item_of({"id": "tea", "price": {"amount": 0.1 + 0.2}})["offers"]
    assert [str(offer["price"]) for offer in short] == ["0.3"]


@pytest.mark.parametrize("price", [-1.5, float("nan"), float("inf"), -0.0, 1e30, True, "1e3"])
def test_a_price_that_is_no_amount_is_refused(price: object) -> None:
    with pytest.raises(InvalidInput) as refusal:
        item_of({"id": "tea", "offers": [{"price": price}]})
    assert refusal.value.field == "offers.0.price"
