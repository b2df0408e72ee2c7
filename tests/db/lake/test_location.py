"""A lake can be at any address without a secret, and an error of its storage makes the lake unavailable."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from s3fs import S3FileSystem

from core.contract import Person
from core.errors import InvalidInput, StoreUnavailable
from db.lake.days import read_contents
from db.lake.erasure import erase_people
from db.lake.late_events import without
from db.lake.location import Lake
from db.postgres import Pool
from tests.db.lake.conftest import DAY, NOON, event, export, store
from tests.db.lake.test_export import rows


@contextmanager
def answering_all(status: int, body: bytes) -> Iterator[str]:
    """The address of a server that gives every request the same answer."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815 -- named by the library

        def log_message(self, *_: object) -> None:
            """Write no log."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("url", ["{folder}/lake[1]", "file://{folder}/l*ke/[1]", "s3://shop/lake[1]*"])
async def test_an_address_is_not_read_as_a_pattern(pool: Pool, s3: object, tmp_path: Path, url: str) -> None:
    lake = Lake.at(url.format(folder=tmp_path))
    await store(pool, event(1), event(2, NOON + DAY))
    assert (await export(pool, lake)).days == 2
    assert (await export(pool, lake)).unchanged == 2
    assert len(rows(lake)) == 1
    await store(pool, event(3))
    assert (await export(pool, lake)).days == 1
    assert [day.rows for day in read_contents(lake).days.values()] == [2, 1]


async def test_other_storages_and_plain_paths_can_be_lakes(
    pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    await store(pool, event(1))
    memory = Lake("memory://shop", MemoryFileSystem(), "/shop/events/v1")
    for lake in (memory, Lake.at(str(tmp_path / "folder")), Lake.at("here")):
        assert (await export(pool, lake)).days == 1
        assert len(rows(lake)) == 1
    for folder in ("folder", "here"):
        assert (tmp_path / folder / "events/v1/day=2026-01-05/_SUCCESS.json").exists()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nonsense://x", "nonsense:// is not an address of a storage"),
        ("gs://bucket/x", "gs:// needs a package"),
        ("ftp://ada:hush@host/x", "must not contain a password"),
        ("s3://key:hu/sh@bucket/x", "must not contain a password"),
        ("key:hush@nonsense://x", "must not contain a password"),
        ("s3://bucket/x?secret=hush", "must not contain a password"),
        ("simplecache::s3://key:hush@bucket/x", "must not contain a password"),
        ("simplecache::/data/hush", "must not contain a password"),
        ("memory://shop", "lost when its process ends"),
        ("file://[x", "needs an absolute path"),
        ("file://data/x", "needs an absolute path"),
        ("s3://[x", "s3:// is not an address of a storage"),
        ("dir://x", "dir:// is not an address of a storage"),
        ("reference://x", "reference:// is not an address of a storage"),
    ],
)
def test_an_address_that_cannot_be_opened_is_refused_with_the_reason(url: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words) as refused:
        Lake.at(url)
    assert "hush" not in str(refused.value)


async def test_the_error_about_a_missing_bucket_names_it(pool: Pool, s3: object) -> None:
    await store(pool, event(1))
    with pytest.raises(StoreUnavailable, match="s3://nowhere/lake did not answer: FileNotFoundError"):
        await export(pool, Lake.at("s3://nowhere/lake"))


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (403, b"<Error><Code>AccessDenied</Code></Error>"),
        (404, b""),
        (503, b"<html>"),
        (200, b"{}"),
        (200, b"<ListBucketResult><Contents><Size>5</Size></Contents></ListBucketResult>"),
    ],
)
async def test_any_unexpected_answer_of_a_bucket_makes_the_lake_unavailable(
    pool: Pool, s3: S3FileSystem, monkeypatch: pytest.MonkeyPatch, status: int, body: bytes
) -> None:
    with answering_all(status, body) as url:
        monkeypatch.setattr(S3FileSystem, "retries", 1)
        files = S3FileSystem(endpoint_url=url, config_kwargs={"retries": {"total_max_attempts": 1}})
        with pytest.raises(StoreUnavailable, match="s3://shop/lake did not answer"):
            await export(pool, Lake("s3://shop/lake", files, "shop/lake/events/v1"))


def without_guests(part: Path) -> None:
    pq.write_table(pq.read_table(part).drop_columns(["anonymous_id", "id"]), part)


def with_other_types(part: Path) -> None:
    rows = pq.read_table(part)
    pq.write_table(rows.set_column(1, "id", rows["digest"]).set_column(5, "user_id", rows["digest"]), part)


def cut_short(part: Path) -> None:
    part.write_bytes(part.read_bytes()[:-100])


def overwritten(part: Path) -> None:
    part.write_bytes(b"PAR1" + bytes(part.stat().st_size - 8) + b"PAR1")


@pytest.mark.parametrize("damage", [without_guests, with_other_types, cut_short, overwritten])
async def test_a_damaged_file_makes_the_lake_unavailable(
    pool: Pool, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    lake = Lake.at(str(tmp_path))
    await store(pool, event(1))
    await export(pool, lake)
    day = read_contents(lake).days[NOON.date()]
    damage(tmp_path / "events/v1/day=2026-01-05" / day.parts[0].name)
    for read in (lambda: without(lake, day.day, day.parts), lambda: erase_people(lake, {Person("user", "u1")})):
        with pytest.raises(StoreUnavailable, match="did not answer"):
            read()


async def test_a_folder_that_cannot_be_written_makes_the_lake_unavailable(pool: Pool, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    await store(pool, event(1))
    with pytest.raises(StoreUnavailable, match=r"cannot be written: (NotADirectory|FileExists)Error"):
        await export(pool, Lake.at(f"{tmp_path}/file"))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_full_or_read_only_disk_is_said_to_be_one(number: int, tmp_path: Path) -> None:
    with (
        pytest.raises(StoreUnavailable, match=f"cannot be written: OSError: {os.strerror(number)}"),
        Lake.at(str(tmp_path)).translated(),
    ):
        raise OSError(number, os.strerror(number))
