"""A gzip body, inflated as far as it may be and no further."""

import zlib

from api.errors import RequestRefused

MOST_MEMBERS = 64  # of one body: `cat a.gz b.gz` is gzip too, and each costs a copy of what follows
_GZIP = 16 + zlib.MAX_WBITS


def inflate(body: bytes, most: int) -> bytes:
    """The bytes a gzip body stands for.

    Raises RequestRefused: 413 for more than `most` bytes, of which no more are ever made; 400 for what is not gzip,
    or not whole.
    """
    parts: list[bytes] = []
    left = most
    for _ in range(MOST_MEMBERS):
        member = zlib.decompressobj(_GZIP)
        try:
            parts.append(member.decompress(body, left + 1))
        except zlib.error:
            raise _bad() from None
        left -= len(parts[-1])
        if left < 0:
            raise RequestRefused("PAYLOAD_TOO_LARGE", f"An inflated body may have {most} bytes.", 413)
        if not member.eof:
            raise _bad()
        body = member.unused_data
        if not body:
            return b"".join(parts)
    raise _bad()


def _bad() -> RequestRefused:
    return RequestRefused("BAD_REQUEST", "The body is not gzip, or not all of it.", 400)
