"""Copies of large buffers."""

import mmap
import resource
from collections.abc import Iterator

import pytest

from event_collector.encoding.buffers import COPIED_UP_TO, Blob, Buffer, unchanging

MIB = 1 << 20
SIZES = [0, 1, MIB, 4 * MIB - 1, 4 * MIB, 4 * MIB + 1, 9 * MIB + 12_345]


def bytes_of(blob: Blob) -> bytes:
    assert not isinstance(blob, list)
    return bytes(blob)


def pattern(size: int) -> bytearray:
    return bytearray((bytes(range(251)) * (size // 251 + 1))[:size])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", [bytearray, memoryview], ids=["bytearray", "memoryview"])
def test_a_copy_does_not_change_with_the_original(size: int, kind: type) -> None:
    original = pattern(size)
    expected = bytes(original)
    copy = unchanging(kind(original))
    original[:] = bytes(size)
    assert bytes_of(copy) == expected


@pytest.mark.parametrize("sizes", [(3, 0, 64), (3 * MIB, 61, 5 * MIB)], ids=["small", "large"])
def test_several_buffers_become_one(sizes: tuple[int, ...]) -> None:
    parts: list[Buffer] = [pattern(size) for size in sizes]
    assert bytes_of(unchanging(parts)) == b"".join(parts)


def test_a_large_copy_is_read_only() -> None:
    copy = unchanging(pattern(4 * MIB))
    assert isinstance(copy, memoryview)
    assert copy.readonly


def test_what_cannot_change_or_is_very_large_is_not_copied() -> None:
    whole = b"x" * MIB
    for blob in (whole, memoryview(whole)[5:], [whole, memoryview(whole)], bytearray(COPIED_UP_TO + 1)):
        assert unchanging(blob) is blob


@pytest.fixture
def little_address_space() -> Iterator[None]:
    """No mapping of this size, as under a limit that memory from the heap may still meet."""
    with pytest.MonkeyPatch.context() as patch:

        def refuse(*_args: object, **_options: object) -> mmap.mmap:
            raise OSError("no address space")

        patch.setattr(mmap, "mmap", refuse)
        yield


@pytest.mark.usefixtures("little_address_space")
def test_without_a_mapping_the_copy_is_in_the_heap() -> None:
    copy = unchanging(pattern(4 * MIB))
    assert isinstance(copy, memoryview)
    assert type(copy.obj) is bytes


@pytest.mark.skipif(not hasattr(mmap, "MADV_HUGEPAGE"), reason="needs Linux")
def test_copies_give_their_memory_back() -> None:
    """Within memory for a few, fifty are made one after another."""
    original, before = pattern(16 * MIB), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(50):
        unchanging(original)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024  # KiB; all would be 800 MiB
