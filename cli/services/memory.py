"""How this process takes memory from the system, so that what an attack or a peak needed goes back afterwards."""

import ctypes
from typing import Final

LARGE: Final = 800_000  # bytes of a block that is taken from the system alone: a hash of a secret takes 19 MiB
SPARE: Final = 2**23  # bytes at the end of a heap that are kept for the next block
ARENAS: Final = 2  # heaps that threads share; Python lets one thread at a time allocate in any case
_ARENA_MAX, _MMAP_THRESHOLD, _TRIM_THRESHOLD = -8, -3, -1  # of glibc's malloc.h, see mallopt(3)


def give_back_large_blocks() -> None:
    """Give large blocks back to the system as soon as they are freed. Nothing happens where the C library is not glibc.

    By itself glibc raises the size of such blocks with each that is freed, up to 32 MB, and keeps the smaller ones.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, LARGE)
        mallopt(_TRIM_THRESHOLD, SPARE)
        mallopt(_ARENA_MAX, ARENAS)
