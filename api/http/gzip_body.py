"""Decompression of a gzip body, up to a limit."""

import zlib

from api.errors import RequestRefused

MAX_MEMBERS = 64  # of one body: `cat a.gz b.gz` is gzip too, and each member costs a copy of the bytes after it
_GZIP = 16 + zlib.MAX_WBITS


def inflate(body: bytes, most: int) -> bytes:
    """The bytes that a gzip body decompresses to.

    Raises RequestRefused: 413 for more than `most` bytes (it stops there and decompresses no more), 400 when the body
    is not gzip or is cut off.
    """
    parts: list[bytes] = []
    left = most
    for _ in range(MAX_MEMBERS):
        member = zlib.decompressobj(_GZIP)
        try:
            parts.append(member.decompress(body, left + 1))
        except zlib.error:
            raise _bad() from None
        left -= len(parts[-1])
        if left < 0:
            raise RequestRefused("PAYLOAD_TOO_LARGE", f"A decompressed body may have at most {most} bytes.", 413)
        if not member.eof:
            raise _bad()
        body = member.unused_data
        if not body:
            return b"".join(parts)
    raise _bad()


def _bad() -> RequestRefused:
    return RequestRefused("BAD_REQUEST", f"The body is not complete gzip of at most {MAX_MEMBERS} members.", 400)
