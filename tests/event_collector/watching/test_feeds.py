"""The board of feeds: each under a name of its own, while it runs and for a while after."""

import msgspec

from event_collector.watching.feeds import MOST_ENDED, FeedBoard, FeedCounts, FeedSnapshot

FIGURES = FeedSnapshot(
    name="", state="running", counts=FeedCounts(), held_bytes=0, remembered=0, duplicate_window=1.0, is_held_back=False
)


class StubFeed:
    """A feed whose figures are set by hand."""

    figures = FIGURES

    def look(self) -> FeedSnapshot:
        return self.figures


def test_feeds_of_one_source_have_names_of_their_own() -> None:
    """Labels of metrics have to differ; a name is free again when its feed has ended."""
    board = FeedBoard()
    assert [board.enter("orders", StubFeed()) for _ in range(3)] == ["orders", "orders (2)", "orders (3)"]
    board.leave("orders")
    assert [one.name for one in board.look()] == ["orders (2)", "orders (3)", "orders"]
    assert board.enter("orders", StubFeed()) == "orders"
    assert [one.name for one in board.look()] == ["orders (2)", "orders (3)", "orders"]


def test_the_last_figures_of_a_feed_stay() -> None:
    """They say why it has ended. The feed itself is kept no longer, and the oldest figures make room."""
    board, feed = FeedBoard(), StubFeed()
    name = board.enter("first", feed)
    feed.figures = msgspec.structs.replace(FIGURES, state="ended", last_error="no broker")
    board.leave(name)
    feed.figures = FIGURES
    assert [(one.state, one.last_error) for one in board.look()] == [("ended", "no broker")]
    for number in range(MOST_ENDED):
        board.leave(board.enter(f"feed {number}", StubFeed()))
    assert [one.name for one in board.look()] == [f"feed {number}" for number in range(MOST_ENDED)]
