"""Sizes of segments, and of the values in them."""

from typing import Final

SHARED_FROM: Final = 256 * 1024
"""Bytes from which a value travels in shared memory. Measured in bench: below, the socket is as fast."""

CHUNK_SHARED_FROM: Final = 32 * 1024
"""The same for the items of a chunk, which are many small values. No one of them is mapped, or kept as it is."""

SLOTS: Final = 128
"""Segments that the program may share with one worker. Each has a slot."""

RETIRED: Final = 1 << 63
"""A bit beside the number of a lease that has ended: the segment must not be used again."""

PAGE: Final = 4096


def size_for(nbytes: int) -> int:
    """Return the size of a segment for values of about this size: up to a quarter more, so that it suits others too."""
    step = max(PAGE, 1 << max(0, (nbytes - 1).bit_length() - 3))
    return -(-nbytes // step) * step


def suits(size: int, nbytes: int) -> bool:
    """Return whether a value belongs into a segment of this size: it has room, and wastes at most half of it."""
    return nbytes <= size <= 2 * size_for(nbytes)
