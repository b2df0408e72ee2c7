"""Files are read by what they hold: encodings, line ends, compression, JSON documents, XML feeds and large cells."""

import bz2
import csv
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pytest

from cli.loading import bounded_lines, csv_files, xml_feeds
from cli.loading.chunks import NOT_TEXT, WrongFile
from cli.loading.columns import Kind
from tests.reading import column, read, read_by_name, records, rejects

pytestmark = pytest.mark.usefixtures("folder")
TABLE = "id,title\r\na,Grüner Tee\r\nb,Käse\r\n"
LINES = '{"id": "a", "title": "Grüner Tee"}\r\n\r\n{"id": "b", "title": "Käse"}\r\n'
FOUND = [("a", "Grüner Tee"), ("b", "Käse")]
FEED = '<rss xmlns:g="http://base.google.com/ns/1.0"><channel><title>Shop</title>{}</channel></rss>'


def file_of(content: bytes | str, name: str = "file.bin") -> Path:
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return Path(name)


def archive_of(files: Mapping[str, bytes | str]) -> Path:
    with zipfile.ZipFile("file.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return Path("file.zip")


def found(content: bytes | str, encoding: str = "utf-8-sig") -> list[tuple[str, str]]:
    chunks = read_by_name(file_of(content), encoding=encoding)
    assert rejects(chunks) == []
    return [(record["id"], record["title"]) for record in records(chunks)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_unicode_files_are_read_with_and_without_a_mark(encoding: str) -> None:
    assert found(TABLE.encode(encoding)) == FOUND
    assert found(TABLE.replace(",", "\t").encode(encoding)) == FOUND
    assert found(LINES.encode(encoding)) == FOUND


@pytest.mark.parametrize("text", [TABLE, LINES])
def test_another_encoding_is_named_by_the_advice_and_then_read(text: str) -> None:
    chunks = read_by_name(file_of(text.encode("cp1252")))
    reasons = [reject.reason for chunk in chunks for reject in chunk.rejects]
    assert reasons == [NOT_TEXT, NOT_TEXT]
    assert "--encoding cp1252" in NOT_TEXT
    assert found(text.encode("cp1252"), "cp1252") == FOUND


def test_a_header_that_is_not_text_names_the_encoding() -> None:
    with pytest.raises(WrongFile, match="its header is not text in the file's encoding; name it"):
        read_by_name(file_of("id,größe\na,1\n".encode("cp1252")))


def test_utf_16_that_is_cut_off_is_one_clear_error() -> None:
    with pytest.raises(WrongFile, match="it is not text in its encoding: truncated data"):
        read_by_name(file_of(TABLE.encode("utf-16")[:-1]))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_may_end_in_each_way(end: str) -> None:
    assert found(TABLE.replace("\r\n", end)) == FOUND
    assert found(LINES.replace("\r\n", end)) == FOUND


@pytest.mark.parametrize("first", ["sep=|", '"sep=|"', "SEP=|", "\ufeffsep=|"])
def test_a_first_line_for_excel_names_the_delimiter(first: str) -> None:
    chunks = read_by_name(file_of(f"{first}\r\nid|title\r\na|x,y\r\nb|too|many\r\n"))
    assert (records(chunks), rejects(chunks)) == ([{"id": "a", "title": "x,y"}], [(4, None)])


@pytest.mark.parametrize("delimiter", list(",;\t|"))
def test_delimiters_are_found_outside_of_quotes(delimiter: str) -> None:
    other = "," if delimiter != "," else ";"
    header = delimiter.join(["id", "title", f'"{other * 5}"'])
    recipe = '[items]\nid = "id"\ntitle = "title"\n'
    chunks = read(recipe, file_of(f"{header}\na{delimiter}Tea{delimiter}1\n"), Kind.ITEMS)
    assert records(chunks) == [{"id": "a", "title": "Tea"}]


@pytest.mark.parametrize(
    ("above", "header"),
    [
        ("Sales report;November\n\n", "id;title\n"),
        ("Bericht vom 01.03.2026\n", "id\ttitle\r\n"),
        ('"Report ""all"", ready"\nShop: Acme\n\n\n', '"id","title"\n'),
        ("sep=;\nSales\n", "id;title\n"),
    ],
)
def test_lines_above_a_header_are_named(above: str, header: str) -> None:
    content = f"{above}{header}a;Tea\n"
    number = content[: content.index(header)].count("\n") + 1
    for read_file in (read_by_name, lambda file: read('[items]\nid = "id"\ntitle = "title"\n', file, Kind.ITEMS)):
        with pytest.raises(WrongFile, match=f"^line {number} is its header; delete what stands above it$"):
            read_file(file_of(content))


@pytest.mark.parametrize(
    ("header", "delimiter"), [("id~title", "'~'"), ("id::title", "'::'"), ("id    title", "whitespace")]
)
def test_a_delimiter_that_is_not_found_is_named(header: str, delimiter: str) -> None:
    with pytest.raises(WrongFile, match=f"^its delimiter is not found; say --delimiter {delimiter}$"):
        read_by_name(file_of(f"{header}\n{header.replace('id', 'a').replace('title', 'Tea')}\n"))


def test_a_tar_archive_is_named() -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("items.csv"), io.BytesIO())
    with pytest.raises(WrongFile, match=r"^it is a tar archive"):
        read_by_name(file_of(packed.getvalue()))


def test_texts_that_are_formulas_of_excel_are_what_excel_shows() -> None:
    content = 'id,title,price,currency\r\n="00123",href="x","=""12,50""",EUR\r\n"=""B-2""", ="" ,1,EUR\r\n'
    recipe = 'decimal = ","\n[items]\nid = "id"\ntitle = "title"\nprice = "price"\ncurrency = "currency"\n'
    found = records(read(recipe, file_of(content), Kind.ITEMS))
    assert [(each["id"], each.get("title"), each["price"]) for each in found] == [
        ("00123", 'href="x"', "12.50"),
        ("B-2", None, "1"),
    ]
    assert records(read_by_name(file_of('id,title\n="007",a\n')))[0]["id"] == "007"


def test_a_file_without_a_header_is_refused_as_before() -> None:
    with pytest.raises(WrongFile, match=r"^the column 'b' is not known for items"):
        read_by_name(file_of("b,Tea\n" + "c,Cup\n" * 100 + "id,title\n"))


def test_headers_and_cells_may_hold_line_ends_and_lines_keep_their_numbers() -> None:
    recipe = '[items]\nid = "id"\ntitle = "the\\ntitle"\n'
    chunks = read(recipe, file_of('\n\nid,"the\ntitle"\na,"two\nlines"\nb\nc,d\n'), Kind.ITEMS)
    assert records(chunks) == [{"id": "a", "title": "two\nlines"}, {"id": "c", "title": "d"}]
    assert rejects(chunks) == [(7, None)]


def test_columns_without_a_name_are_left_out() -> None:
    assert found(",id,title,\n0,a,Grüner Tee,\n1,b,Käse,\n") == FOUND


def test_a_column_that_is_there_twice_is_refused_where_it_is_read() -> None:
    file = file_of("id,title,title,title2,title2\na,b,c,d,e\n")
    with pytest.raises(WrongFile, match="the column 'title', which is there twice; rename one of them"):
        read('[items]\nid = "id"\ntitle = "title"\n', file, Kind.ITEMS)
    assert records(read('[items]\nid = "id"\n', file, Kind.ITEMS)) == [{"id": "a"}]


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, "zstd"])
def test_compressed_files_are_known_by_their_content(pack: object) -> None:
    content = TABLE.encode()
    packed = pack(content) if callable(pack) else pa.compress(content, codec="zstd", asbytes=True)
    assert found(packed) == FOUND
    half = len(TABLE[: TABLE.index("b,")].encode())
    parts = [content[:half], content[half:]]
    twice = [pack(part) if callable(pack) else pa.compress(part, codec="zstd", asbytes=True) for part in parts]
    assert found(b"".join(twice)) == FOUND


@pytest.mark.parametrize(
    "damaged",
    [
        pytest.param(gzip.compress(TABLE.encode() * 99)[:-20], id="gzip"),  # named: its bytes hold the time
        pytest.param(bz2.compress(TABLE.encode() * 99)[:-20], id="bzip2"),
        pytest.param(pa.compress(TABLE.encode() * 99, codec="zstd", asbytes=True)[:-5], id="zstd"),
        pytest.param(gzip.compress(TABLE.encode() * 99)[:30] + b"xxxxxxxxxx", id="gzip with other bytes"),
    ],
)
def test_a_damaged_compression_is_one_clear_error(damaged: bytes) -> None:
    with pytest.raises(WrongFile, match="damaged"):
        read_by_name(file_of(damaged))


def test_an_archive_of_one_file_is_read() -> None:
    files: dict[str, bytes | str] = {"data/": "", "data/items.csv": TABLE, "__MACOSX/data/._items.csv": b"\x00"}
    assert column(read_by_name(archive_of(files)), "id") == ["a", "b"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.csv": TABLE, "b.csv": TABLE}, r"the archive holds 2 files \(a.csv, b.csv\); unpack it"),
        ({f"{n}\n.csv": TABLE for n in range(99)}, r"holds 99 files \(0 .csv, 1 .csv, .*, \.\.\.\); unpack it"),
        ({"[Content_Types].xml": "", "xl/workbook.xml": ""}, "it is an Excel sheet or another office document"),
        ({"a.csv.gz": gzip.compress(TABLE.encode())}, "it is compressed twice; unpack it once"),
    ],
)
def test_another_archive_is_refused(files: dict[str, bytes | str], message: str) -> None:
    with pytest.raises(WrongFile, match=message):
        read_by_name(archive_of(files))


@pytest.mark.parametrize("start", [b"id,title\na,", b'{"id": "', b'[{"id": "', b"<rss><item><id>", b'<rss><item id="'])
def test_what_unpacks_without_end_is_refused_while_it_is_read(start: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_lines, "LONGEST_LINE", 1 << 20)
    monkeypatch.setattr(bounded_lines, "ROOM", 1 << 20)
    monkeypatch.setattr("cli.loading.json_documents.LONGEST_LINE", 1 << 20)
    monkeypatch.setattr("cli.loading.csv_files.ROOM", 1 << 20)
    monkeypatch.setattr(xml_feeds, "_LARGEST", 1 << 20)
    file = file_of(gzip.compress(start + b"a" * (4 << 20)))
    with pytest.raises(WrongFile, match=r"longer than 1 MB|more than 1 MB|larger than 1 MB|not JSON after 0 objects"):
        read('[items]\nid = "id"\n', file, Kind.ITEMS)


@pytest.mark.parametrize(
    "document",
    [
        '[{"id": "a", "title": "Grüner Tee"}, {"id": "b", "title": "Käse"}]',
        '\ufeff[\n  {\n  "id": "a", "title": "Grüner Tee"\n  },\n  {"id": "b", "title": "Käse"}\n]\n',
        '{\n"id": "a",\n"title": "Grüner Tee"\n}\n{\n"id": "b",\n"title": "Käse"\n}\n',
    ],
)
def test_json_arrays_and_objects_over_several_lines_are_read(document: str) -> None:
    assert found(document) == FOUND
    assert found(document.encode("utf-16")) == FOUND
    chunks = read('[items]\nid = "id"\n', file_of(document), Kind.ITEMS)
    assert [int(line) for chunk in chunks for line in chunk.lines] == [1, 2]


def test_a_long_array_is_read_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.loading.json_documents._BLOCK", 7)
    assert found('[{"id": "a", "title": "Grüner Tee"}, {"id": "b", "title": "Käse"}]') == FOUND


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ('[{"id": "a"}, {"id": ', "it is not JSON after 1 objects"),
        ('[{"id": "a"}, nothing]', "it is not JSON after 1 objects"),
        ('[{"id": "a"}', "it is not whole JSON: the array does not end"),
        ('[{"id": "a"}] {"id": "b"}', "it is not whole JSON: more follows its end"),
    ],
)
def test_a_broken_array_is_one_clear_error(document: str, message: str) -> None:
    with pytest.raises(WrongFile, match=message):
        read_by_name(file_of(document))


def test_values_of_an_array_that_are_no_objects_are_set_aside_alone() -> None:
    chunks = read_by_name(file_of('[{"id": "a"}, 5, {"id": "b"}]'))
    assert (column(chunks, "id"), rejects(chunks)) == (["a", "b"], [(2, None)])


def test_items_of_a_feed_are_records_with_lists_and_attributes() -> None:
    recipe = """
        [items]
        id = "g:id"
        title = "title"
        url = "link@href"
        categories = "g:product_type"
        "attributes.shipping" = "g:shipping.0.g:price"
    """
    items = (
        "<item><g:id>a</g:id><title>Tea &amp; more</title><g:product_type>Tea</g:product_type>"
        "<g:shipping><g:country>DE</g:country><g:price>5 EUR</g:price></g:shipping></item>",
        '<item><g:id>b</g:id><title><![CDATA[<Cup>]]></title><link href="https://shop.example/b"/>'
        "<g:product_type>Tea</g:product_type><g:product_type>Cups</g:product_type>"
        "<g:shipping><g:price>6 EUR</g:price></g:shipping><g:shipping><g:price>7 EUR</g:price></g:shipping></item>",
    )
    chunks = read(recipe, file_of(FEED.format("".join(items))), Kind.ITEMS)
    assert records(chunks) == [
        {"id": "a", "title": "Tea & more", "categories": ["Tea"], "attributes": {"shipping": "5 EUR"}},
        {"id": "b", "title": "<Cup>", "categories": ["Tea", "Cups"], "url": "https://shop.example/b",
         "attributes": {"shipping": "6 EUR"}},
    ]  # fmt: skip


def test_a_feed_in_atom_may_name_the_namespace_of_google_as_it_likes() -> None:
    feed = (
        '<?xml version="1.0" encoding="ISO-8859-1"?><feed xmlns="http://www.w3.org/2005/Atom"'
        ' xmlns:product="http://base.google.com/ns/1.0"><title>Shop</title>'
        '<entry><product:id>a</product:id><title type="html">Grüner Tee</title></entry></feed>'
    )
    recipe = '[items]\nid = "g:id"\ntitle = "title"\n'
    assert records(read(recipe, file_of(feed.encode("latin-1")), Kind.ITEMS)) == [{"id": "a", "title": "Grüner Tee"}]
    unicode = feed.replace("ISO-8859-1", "UTF-16").encode("utf-16")
    assert records(read(recipe, file_of(gzip.compress(unicode)), Kind.ITEMS))[0]["title"] == "Grüner Tee"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('<!DOCTYPE rss [<!ENTITY a "b">]>' + FEED.format("<item><id>&a;</id></item>"), "it has a document type"),
        ('<!DOCTYPE rss SYSTEM "file:///etc/passwd">' + FEED.format(""), "it has a document type"),
        ("<rss>" + "<a>" * 99, "its elements are more than 32 deep"),
        ("<rss><item><id>1</id></item><item>", "it is damaged XML: no element found"),
        ("<rss><item><id>&nbsp;</id></item></rss>", "it is damaged XML: undefined entity"),
        ("<shop><product/></shop>", "it is XML without an <item> or <entry>"),
        ("<!DOCTYPE html><html>", "it is a web page"),
    ],
)
def test_another_or_harmful_feed_is_one_clear_error(content: str, message: str) -> None:
    with pytest.raises(WrongFile, match=message):
        read('[items]\nid = "id"\n', file_of(content), Kind.ITEMS)


def test_a_recipe_names_the_element_that_is_a_line() -> None:
    feed = """<catalog><product id="a" on="no"><name>Tea</name><item>in it</item></product>
        <vendors><vendor>Acme</vendor></vendors><product id="b"><name lang="de">Tasse</name></product></catalog>"""
    recipe = 'element = "product"\n[items]\nid = "@id"\ntitle = "name"\n"attributes.lang" = "name@lang"\n'
    assert records(read(recipe, file_of(feed), Kind.ITEMS)) == [
        {"id": "a", "title": "Tea"},
        {"id": "b", "title": "Tasse", "attributes": {"lang": "de"}},
    ]


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ("", r'without an <item> or <entry>; name the element .* element = "g:product"'),
        ('element = "Product"\n', "it is XML without a <Product>; did you mean <g:product>?"),
    ],
)
def test_an_element_that_may_be_meant_is_named(head: str, message: str) -> None:
    product = "<g:product><id>a</id><size>M</size><size>L</size></g:product>"
    feed = f'<shop xmlns:g="http://base.google.com/ns/1.0"><name>Shop</name><products>{product * 2}</products></shop>'
    with pytest.raises(WrongFile, match=message):
        read(f'{head}[items]\nid = "id"\n', file_of(feed), Kind.ITEMS)


def test_a_feed_needs_a_recipe() -> None:
    with pytest.raises(WrongFile, match=r"an XML feed, which needs a recipe; docs/recipes/google-merchant.toml"):
        read_by_name(file_of(FEED.format("<item/>")))


def test_a_large_cell_that_nobody_reads_costs_nothing() -> None:
    recipe, large = '[items]\nid = "id"\n', "x" * 5_000_000
    assert column(read(recipe, file_of(f'id,body\na,"{large}"\nb,\n'), Kind.ITEMS), "id") == ["a", "b"]
    assert column(read(recipe, file_of(f'{{"id": "a", "body": "{large}"}}\n'), Kind.ITEMS), "id") == ["a"]
    assert column(read(f'delimiter = "::"\n{recipe}', file_of(f"id::body\na::{large}\n"), Kind.ITEMS), "id") == ["a"]
    chunks = read_by_name(file_of(f'id,title\na,"{large}"\nb,Tea\n'))
    assert ([len(title) for title in column(chunks, "title")], rejects(chunks)) == ([5_000_000, 3], [])


def test_a_cell_beyond_every_bound_loses_its_line_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = csv.field_size_limit(1000)
    try:
        chunks = read_by_name(file_of(f'id,title\na,"{"x" * 2000}"\nb,Tea\n'))
    finally:
        csv.field_size_limit(limit)
    assert (column(chunks, "id"), rejects(chunks)) == (["b"], [(2, None)])


def test_bytes_that_are_no_text_lose_no_line_in_a_column_that_nobody_reads() -> None:
    file = file_of("id,note\na,caf\xe9\n\xe9,x\nb,caf\xe9\n".encode("latin-1"))
    chunks = read('[items]\nid = "id"\n', file, Kind.ITEMS)
    assert (sorted(column(chunks, "id")), rejects(chunks)) == (["a", "b"], [(3, None)])


def test_chunks_of_a_table_end_early_when_its_lines_are_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_files, "ROOM", 1000)
    chunks = read_by_name(file_of("id,title\n" + f"a,{'x' * 400}\n" * 9))
    assert [len(chunk.lines) for chunk in chunks] == [3, 3, 3]


@pytest.mark.parametrize(("cell", "advice"), [('"a "b" c"', "is written twice"), ('"a', "is never closed")])
def test_a_quotation_mark_at_the_wrong_place_is_explained(cell: str, advice: str) -> None:
    chunks = read_by_name(file_of(f"id,title\na,{cell}\n"))
    ((reject,),) = [chunk.rejects for chunk in chunks]
    assert advice in reject.reason
