"""The journal of a run over lines: up to which line nothing is missing, and where an input is continued."""

from pathlib import Path

import pytest

from event_collector.command.lines.line_journal import LineJournal, OtherInput
from event_collector.command.lines.line_window import LineWindow
from event_collector.command.lines.ndjson import InputLine
from event_collector.journal.stored_event import InputPosition

INODE = 77


def make(path: Path, resume: bool | None = None, inode: int = INODE) -> LineJournal:
    window = LineWindow(100, 1000, ordered=True)
    return LineJournal(str(path), window, inode, resume=resume, say=lambda _text: None)


def line(number: int, data: bytes | None = b"data") -> InputLine:
    return InputLine(number, data, 10)


def position(path: Path, count: int, inode: int = INODE) -> InputPosition:
    """Return the position of a run that has taken so many lines."""
    journal = make(path, inode=inode)
    for number in range(1, count + 1):
        assert not journal.skips(line(number))
        taken = journal.take(number)
    assert taken is not None
    return taken


def test_the_position_is_before_the_first_line_that_is_missing(tmp_path: Path) -> None:
    """In whatever order the lines reach the journal."""
    journal = make(tmp_path / "j")
    for number in range(1, 6):
        journal.skips(line(number))
    positions = [journal.take(number) for number in (2, 1, 5, 3, 4)]
    assert [taken and taken.lines for taken in positions] == [None, 2, None, 3, 5]


def test_there_is_no_position_once_the_journal_could_not_be_written(tmp_path: Path) -> None:
    """A line before it may be missing."""
    journal = make(tmp_path / "j")
    journal.skips(line(1))
    journal.skips(line(2))
    assert journal.take(1) is not None
    journal.freeze()
    assert journal.take(2) is None


@pytest.mark.parametrize(
    ("resume", "inodes", "continued"),
    [
        (None, [5, INODE], INODE), (None, [5, 0], None), (None, [], None),
        (True, [5, INODE], INODE), (True, [5, 0], 5), (True, [], None),
        (False, [INODE], None),
    ],
)  # fmt: skip
def test_which_input_is_continued(
    tmp_path: Path, resume: bool | None, inodes: list[int], continued: int | None
) -> None:
    """The one with the same inode; on request the last one, whatever it was."""
    journal = make(tmp_path / "j", resume)
    earlier = position(tmp_path / "j", 2)
    journal.recall([earlier._replace(inode=inode) for inode in inodes])
    assert journal.skips(line(1)) is (continued is not None)
    journal.skips(line(2))
    journal.skips(line(3))
    for number in (1, 2):
        journal.take(number)
    assert journal.take(3) == position(tmp_path / "j", 3)._replace(inode=continued or INODE)


def test_a_stream_is_not_recognised_by_itself(tmp_path: Path) -> None:
    """All streams have the inode 0."""
    journal = make(tmp_path / "j", inode=0)
    journal.recall([position(tmp_path / "j", 2, inode=0)])
    assert not journal.skips(line(1))


@pytest.mark.parametrize("data", [b"other", None])
def test_other_lines_are_another_input(tmp_path: Path, data: bytes | None) -> None:
    """This shows at the last line that was taken. The input begins anew, unless the user says that it is the same."""
    for resume in (None, True):
        journal = make(tmp_path / "j", resume)
        journal.recall([position(tmp_path / "j", 2)])
        assert journal.skips(line(1, data))
        with pytest.raises(OtherInput, match="does not begin with the 2 lines"):
            journal.skips(line(2))
        assert journal.begins_anew() is (resume is None)
        assert resume or not journal.skips(line(1, data))


def test_an_input_with_fewer_lines_is_another_one(tmp_path: Path) -> None:
    """Its end comes before the place where the run would continue."""
    journal = make(tmp_path / "j")
    journal.recall([position(tmp_path / "j", 2)])
    assert journal.skips(line(1))
    with pytest.raises(OtherInput):
        journal.end()
