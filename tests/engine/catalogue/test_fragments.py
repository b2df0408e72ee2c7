"""The store of JSON texts is bounded, and keeps what is asked for."""

import subprocess
import sys

import orjson

from engine.catalogue.fragments import Fragments


def test_a_text_is_found_again_and_written_as_it_is() -> None:
    store = Fragments()
    assert store.find("titles", [1, 2]) == [None, None]
    store.keep("titles", 2, b'{"title":"a"}')
    assert orjson.dumps(store.find("titles", [1, 2])) == b'[null,{"title":"a"}]'
    assert store.find("prices", [2]) == [None]


def test_the_store_is_bounded_and_keeps_what_is_asked_for() -> None:
    store = Fragments(max_bytes=100_000)
    for number in range(1_000):
        store.keep("all", number, b'"%s"' % (b"x" * 600))
        assert store.kept_bytes <= 100_000
        assert store.find("all", [0]) != [None]
    assert store.find("all", [1, 999])[0] is None
    assert store.find("all", [1, 999])[1] is not None
    assert orjson.dumps(store.find("all", [0])) == b'["%s"]' % (b"x" * 600)
    store.keep("all", "long", b"x" * 50_000)
    assert store.find("all", ["long"]) == [None]


def test_a_text_kept_twice_counts_once() -> None:
    store = Fragments()
    store.keep("all", 1, b"1")
    size = store.kept_bytes
    store.keep("all", 1, b"1")
    assert store.kept_bytes == size


def test_shelves_that_callers_make_up_are_bounded_too() -> None:
    store = Fragments(max_bytes=100_000)
    for number in range(100):
        store.keep(f"{number:05}" * 1_000, 1, b"1")
    assert store.kept_bytes <= 100_000
    assert store.find("00000" * 1_000, [1]) == [None]
    assert store.find("00099" * 1_000, [1]) != [None]


def test_a_kept_text_takes_the_memory_that_is_counted() -> None:
    measure = """
import orjson
from pathlib import Path
from engine.catalogue.fragments import Fragments
def own_bytes():
    return 1024 * int(Path("/proc/self/status").read_text().partition("RssAnon:")[2].split()[0])
kept = Fragments(2**30)
before = own_bytes()
for number in range(10_000):
    kept.keep("shelf", number, orjson.dumps({"title": "x" * 200, "number": number}))
print((own_bytes() - before) / kept.kept_bytes)
"""
    ran = subprocess.run([sys.executable, "-c", measure], check=True, capture_output=True, text=True)
    assert float(ran.stdout) < 1.5
