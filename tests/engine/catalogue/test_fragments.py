"""The store of JSON texts is bounded, and keeps what is asked for."""

import orjson

from engine.catalogue.fragments import Fragments


def test_a_text_is_found_again_and_written_as_it_is() -> None:
    store = Fragments()
    assert store.get("a") is None
    store.keep("a", b'{"price":1}')
    assert orjson.dumps([store.get("a")]) == b'[{"price":1}]'


def test_the_store_is_bounded_and_keeps_what_is_asked_for() -> None:
    store = Fragments(max_bytes=100_000)
    for number in range(1_000):
        store.keep(number, b"x" * 600)
        assert store.bytes <= 100_000
        assert store.get(0) is not None
    assert store.get(1) is None
    assert store.get(999) is not None
    store.keep("long", b"x" * 50_000)
    assert store.get("long") is None


def test_a_text_kept_twice_counts_once() -> None:
    store = Fragments()
    store.keep("a", b"1")
    size = store.bytes
    store.keep("a", b"2")
    assert store.bytes == size
    assert orjson.dumps(store.get("a")) == b"2"
