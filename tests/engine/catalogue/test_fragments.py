"""The store of JSON texts is bounded, and keeps what is asked for."""

import orjson

from engine.catalogue.fragments import Fragments


def test_a_text_is_found_again_and_written_as_it_is() -> None:
    store = Fragments()
    assert store.find(["a"]) == [None]
    store.keep("a", b'{"price":1}')
    assert orjson.dumps(store.find(["a"])) == b'[{"price":1}]'


def test_the_store_is_bounded_and_keeps_what_is_asked_for() -> None:
    store = Fragments(max_bytes=100_000)
    for number in range(1_000):
        store.keep(number, b"x" * 600)
        assert store.kept_bytes <= 100_000
        assert store.find([0]) != [None]
    assert store.find([1]) == [None]
    assert store.find([999]) != [None]
    store.keep("long", b"x" * 50_000)
    assert store.find(["long"]) == [None]


def test_a_text_kept_twice_counts_once() -> None:
    store = Fragments()
    store.keep("a", b"1")
    size = store.kept_bytes
    store.keep("a", b"2")
    assert store.kept_bytes == size
    assert orjson.dumps(store.find(["a"])) == b"[2]"
