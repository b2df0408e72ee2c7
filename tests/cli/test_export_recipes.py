"""The recipes of the guide read exports of shops and data sets as these publish them; the lines here are made up."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cli.loading.columns import Kind
from db.postgres import Pool
from tests.commands import invoke
from tests.reading import RECIPES, column, read, records, rejects, skipped

pytestmark = pytest.mark.usefixtures("folder")
SHOPIFY_ORDERS = """\
Name,Email,Financial Status,Paid at,Currency,Created at,Lineitem quantity,Lineitem name,Lineitem price,Lineitem sku
#1,ann@shop.example,paid,2026-03-02 17:00:00 -0500,USD,2026-03-02 17:00:00 -0500,2,Mug - Blue,14.50,MUG-B
#1,ann@shop.example,,,,,1,Tea,3.00,
#2,,refunded,,EUR,2026-03-03 09:00:00 +0000,1,Mug - Red,14.50,MUG-R
#3,bob@shop.example,pending,,USD,2026-03-03 09:00:00 +0000,1,Mug - Red,14.50,MUG-R
#3,,,,,,1,Tea,3.00,TEA
"""
SHOPIFY_PRODUCTS = """\
Handle,Title,Body (HTML),Vendor,Product Category,Option1 Value,Variant SKU,Variant Inventory Qty,Variant Price,Variant Compare At Price,Image Src
mug,Mug,"<p>By hand,
in one piece</p>",Acme,Home > Kitchen,Blue,MUG-B,12,9.50,11.00,https://cdn.example.com/mug.jpg
mug,,,,,Red,MUG-R,0,10.50,,
mug,,,,,,,,,,https://cdn.example.com/mug-2.jpg
tea,Tea,,Leaf,Drinks > Tea,,TEA,-1,3.00,,
"""  # noqa: E501
WOOCOMMERCE_ORDERS = """\
order_id,date,status,order_currency,billing_email,line_items
7,2026-04-01 16:00:00,completed,EUR,ann@shop.example,id:1|name:Tea; green|product_id:5|sku:TEA|quantity:2|subtotal:6.00|subtotal_tax:0.00|total:5.00|total_tax:0.00|meta:;id:2|name:Mug|product_id:6|sku:|quantity:1|subtotal:9.00|subtotal_tax:0.00|total:9.00|total_tax:0.00|meta:Size=L
8,2026-04-01 16:00:00,cancelled,EUR,bob@shop.example,id:3|name:Mug|product_id:6|sku:MUG|quantity:1|total:9.00|meta:
9,2026-04-01 16:00:00,completed,EUR,bob@shop.example,by hand
"""  # noqa: E501
WOOCOMMERCE_LINES = """\
order_id,date,status,order_currency,billing_email,item_name,item_sku,item_quantity,item_total
7,2026-04-01 16:00:00,completed,EUR,ann@shop.example,Tea,TEA,2,5.00
"""
WOOCOMMERCE_PRODUCTS = """\
ID,Type,SKU,Name,Published,Description,In stock?,Sale price,Regular price,Categories,Parent
4,variable,tee,Tee,1,long,1,,,Clothing,
5,variation,tee-red,Tee - Red,1,,0,,20,,tee
6,simple,hat,Hat,1,,1,18,20,Clothing > Hats,
7,simple,old,Old,-1,,1,,20,,
"""


def text(content: str, name: str = "export.csv") -> Path:
    Path(name).write_text(content)
    return Path(name)


def jsonl(*values: Any) -> Path:
    return text("".join(json.dumps(value) + "\n" for value in values), "export.jsonl")


def found(recipe: str, file: Path, kind: Kind, *names: str) -> list[tuple[Any, ...]]:
    """Some columns of the lines that the recipe reads."""
    chunks = read(RECIPES / recipe, file, kind)
    return [tuple(record.get(name) for name in names) for record in records(chunks)]


def test_shopify_orders() -> None:
    file = text(SHOPIFY_ORDERS)
    names = ("type", "userId", "anonymousId", "itemId", "orderId", "quantity", "currency")
    assert found("shopify-orders.toml", file, Kind.EVENTS, *names) == [
        ("PURCHASE", "ann@shop.example", "#1", "MUG-B", "#1", "2", "USD"),
        ("PURCHASE", "ann@shop.example", "#1", "Tea", "#1", "1", "USD"),
        ("RETURN", None, "#2", "MUG-R", "#2", "1", "EUR"),
    ]
    chunks = read(RECIPES / "shopify-orders.toml", file)
    assert column(chunks, "occurredAt")[:2] == [datetime(2026, 3, 2, 22, tzinfo=UTC)] * 2
    assert skipped(chunks) == {"Financial Status": 2}
    items = found("shopify-orders.toml", file, Kind.ITEMS, "id", "title")
    assert sorted(items) == [("MUG-B", "Mug - Blue"), ("MUG-R", "Mug - Red"), ("TEA", "Tea"), ("Tea", "Tea")]


def test_an_export_is_stored_once(pool: Pool, database: str) -> None:
    file, recipe = text(SHOPIFY_ORDERS), RECIPES / "shopify-orders.toml"
    for stored, duplicate in ((3, 0), (0, 3)):
        result = invoke("load", "events", file, "--recipe", recipe, "--json")
        counts = json.loads(result.stdout)
        assert (result.exit_code, counts["stored"], counts["duplicate"], counts["rejected"]) == (
            0,
            stored,
            duplicate,
            0,
        )
    with psycopg.connect(database) as connection:
        found = connection.execute("SELECT item_id, order_id, user_id FROM events ORDER BY item_id").fetchall()
    person = "ann@shop.example"
    assert found == [("MUG-B", "#1", person), ("MUG-R", "#2", None), ("Tea", "#1", person)]


def test_shopify_products() -> None:
    file = text(SHOPIFY_PRODUCTS)
    names = ("id", "groupId", "title", "brand", "available", "image")
    image = "https://cdn.example.com/mug.jpg"
    assert sorted(found("shopify-products.toml", file, Kind.ITEMS, *names), key=str) == [
        ("MUG-B", "mug", "Mug", "Acme", "true", image),
        ("MUG-R", "mug", "Mug", "Acme", "false", image),
        ("TEA", "tea", "Tea", "Leaf", "false", None),
    ]
    described = dict(found("shopify-products.toml", file, Kind.ITEMS, "id", "description"))
    assert described["MUG-R"] == "<p>By hand,\nin one piece</p>"
    assert dict(found("shopify-products.toml", file, Kind.ITEMS, "id", "categories"))["MUG-R"] == ["Home", "Kitchen"]


def test_woocommerce_orders() -> None:
    chunks = read(RECIPES / "woocommerce-orders.toml", text(WOOCOMMERCE_ORDERS))
    assert [(each["itemId"], each["quantity"], float(each["value"])) for each in records(chunks)] == [
        ("TEA", "2", 5.0),
        ("6", "1", 9.0),
    ]
    assert (rejects(chunks), skipped(chunks)) == ([(4, "line_items")], {"status": 1})
    assert found("woocommerce-order-lines.toml", text(WOOCOMMERCE_LINES), Kind.EVENTS, "itemId", "quantity") == [
        ("TEA", "2")
    ]


def test_woocommerce_products() -> None:
    items = found("woocommerce-products.toml", text(WOOCOMMERCE_PRODUCTS), Kind.ITEMS, "id", "groupId", "available")
    assert sorted(items) == [("hat", "hat", "true"), ("tee-red", "tee", "false")]


@pytest.mark.parametrize("format", ["jsonl", "parquet"])
def test_google_analytics(format: str) -> None:
    common = {"item_brand": "Acme", "item_category": "Apparel"}
    event: dict[str, Any] = {
        "event_timestamp": 1777622400000123, "event_name": "purchase", "user_id": None, "user_pseudo_id": "1.2",
        "ecommerce": {"transaction_id": "T1"},
        "items": [
            {"item_id": "a", "item_name": "Hoodie", **common, "price": 30.5, "quantity": 1},
            {"item_id": "b", "item_name": "Hat", **common, "price": 9.0, "quantity": 2},
        ],
    }  # fmt: skip
    visit = {**event, "event_name": "page_view", "ecommerce": None, "items": []}
    viewed = {**event, "event_name": "view_item", "user_id": "ann", "ecommerce": None, "items": event["items"][:1]}
    file = jsonl(visit, event, viewed)
    if format == "parquet":
        pq.write_table(pa.Table.from_pylist([event, viewed, visit]), "export.parquet")
        file = Path("export.parquet")
    names = ("type", "userId", "anonymousId", "itemId", "orderId", "quantity")
    assert found("ga4.toml", file, Kind.EVENTS, *names) == [
        ("PURCHASE", None, "1.2", "a", "T1", "1"),
        ("PURCHASE", None, "1.2", "b", "T1", "2"),
        ("VIEW", "ann", "1.2", "a", None, "1"),
    ]
    bare = {"event_timestamp": 1777622400000123, "event_name": "view_item", "user_pseudo_id": "1.2"}
    guest = jsonl({**bare, "items": [{"item_id": "a", "item_name": "Hat"}]})
    assert found("ga4.toml", guest, Kind.EVENTS, *names) == [("VIEW", None, "1.2", "a", None, None)]
    file = Path("export.parquet") if format == "parquet" else jsonl(visit, event, viewed)
    moment = datetime(2026, 5, 1, 8, 0, 0, 123, tzinfo=UTC)
    assert found("ga4.toml", file, Kind.EVENTS, "occurredAt") == [(moment,)] * 3
    assert sorted(found("ga4.toml", file, Kind.ITEMS, "id", "title")) == [("a", "Hoodie"), ("b", "Hat")]


def test_segment() -> None:
    call = {"timestamp": "2026-06-01T23:02:40.563Z", "userId": None, "anonymousId": "g1", "type": "track"}
    products = [{"product_id": "a", "name": "Go", "price": 19, "quantity": 1}, {"product_id": "b", "quantity": 2}]
    file = jsonl(
        {**call, "event": "Product Viewed", "properties": {"product_id": "a", "name": "Go", "price": 19}},
        {**call, "event": "Order Completed", "properties": {"order_id": "7", "products": products}},
        {**call, "type": "page", "properties": {"path": "/"}},
    )
    assert found("segment.toml", file, Kind.EVENTS, "type", "itemId", "orderId", "quantity") == [
        ("VIEW", "a", None, None),
        ("PURCHASE", "a", "7", "1"),
        ("PURCHASE", "b", "7", "2"),
    ]
    assert sorted(found("segment.toml", file, Kind.ITEMS, "id", "title"), key=str) == [("a", "Go"), ("b", None)]


def test_otto() -> None:
    session = [
        {"aid": 59600, "ts": 1661724001278, "type": "clicks"},
        {"aid": 59601, "ts": 1661724002278, "type": "orders"},
    ]
    file = jsonl({"session": 0, "events": session})
    assert found("otto.toml", file, Kind.EVENTS, "type", "anonymousId", "itemId") == [
        ("VIEW", "0", "59600"),
        ("PURCHASE", "0", "59601"),
    ]
    assert sorted(found("otto.toml", file, Kind.ITEMS, "id")) == [("59600",), ("59601",)]


def test_google_merchant() -> None:
    feed = (
        '<?xml version="1.0"?><rss version="2.0" xmlns:g="http://base.google.com/ns/1.0"><channel><title>Shop</title>'
        "<item><g:id>TV_1</g:id><title>TV</title><link>https://shop.example/tv</link>"
        "<g:availability>in_stock</g:availability><g:price>101.00 USD</g:price>"
        "<g:product_type>Home &gt; Electronics</g:product_type></item>"
        "<item><g:id>TV_2</g:id><g:title>Larger</g:title><g:availability>out of stock</g:availability>"
        "<g:price>201.00 USD</g:price></item></channel></rss>"
    )
    names = ("id", "title", "url", "categories", "available")
    expected = [
        ("TV_1", "TV", "https://shop.example/tv", ["Home", "Electronics"], "true"),
        ("TV_2", "Larger", None, None, "false"),
    ]
    assert sorted(found("google-merchant.toml", text(feed, "feed.xml"), Kind.ITEMS, *names), key=str) == expected
    table = (
        "id\ttitle\tdescription\tlink\timage_link\tavailability\tprice\tproduct_type\n"
        "TV_1\tTV\t\thttps://shop.example/tv\t\tin_stock\t101.00 USD\tHome > Electronics\n"
        "TV_2\tLarger\t\t\t\tout of stock\t201.00 USD\t\n"
    )
    file = text(table, "feed.tsv")
    assert sorted(found("google-merchant-table.toml", file, Kind.ITEMS, *names), key=str) == expected


def test_every_recipe_has_its_test_and_its_line_in_the_guide() -> None:
    guide = (RECIPES.parent / "loading.md").read_text()
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*recipes.py"))
    for recipe in RECIPES.glob("*.toml"):
        assert f"(recipes/{recipe.name})" in guide
        assert recipe.name in tests
