"""Exceptions that refer to each other, and vast ones: at the top level of a module that workers can import."""

from collections.abc import Callable
from typing import Any

DEPTH = 50
"""Levels of references, two from each to the next: more ways than anything could follow."""


class Linked(Exception):
    """Its attributes are other exceptions."""


class Node(Exception):
    """Knows its parent and its children, as the errors of validators do."""

    def __init__(self, text: str, children: tuple["Node", ...] = ()) -> None:
        super().__init__(text)
        self.parent: Node | None = None
        self.children = list(children)
        for child in children:
            child.parent = self


class Strange(Exception):
    """Its constructor takes something else than it has for an argument."""

    def __init__(self, *, first: Any, second: Any) -> None:
        super().__init__("strange")
        self.first, self.second = first, second


def itself() -> Exception:
    error = Linked("itself")
    error.me = error  # type: ignore[attr-defined]
    error.all = [error, {"me": error}]  # type: ignore[attr-defined]
    return error


def pair() -> Exception:
    one, other = Linked("one"), Linked("other")
    one.other, other.other = other, one  # type: ignore[attr-defined]
    one.also, other.also = other, one  # type: ignore[attr-defined]
    return one


def web() -> Exception:
    """Every one of ten exceptions knows all of them."""
    nodes = [Linked(str(number)) for number in range(10)]
    for node in nodes:
        node.nodes = nodes  # type: ignore[attr-defined]
    return nodes[0]


def tree() -> Exception:
    return Node("root", tuple(Node(str(a), tuple(Node(f"{a} {b}") for b in range(3))) for a in range(3)))


def shared_attributes() -> Exception:
    error: Exception = Linked("leaf")
    for number in range(DEPTH):
        above = Linked(str(number))
        above.left = above.right = error  # type: ignore[attr-defined]
        error = above
    return error


def shared_keywords() -> Exception:
    error: Exception = Strange(first=1, second=2)
    for _ in range(DEPTH):
        error = Strange(first=error, second=[error])
    return error


def shared_arguments() -> Exception:
    error = Linked("leaf")
    for _ in range(DEPTH):
        error = Linked(error, error)
    return error


def own_argument() -> Exception:
    error = Linked("itself")
    error.args = (error, [error], {"me": error})
    return error


def shared_groups() -> Exception:
    error: Exception = ValueError("leaf")
    for number in range(DEPTH):
        error = ExceptionGroup(str(number), [error, error])
    return error


def wide_groups() -> Exception:
    error: Exception = ValueError("leaf")
    for number in range(8):
        error = ExceptionGroup(str(number), [error] * 15)
    return error


def group_in_its_part() -> Exception:
    part = Linked("part")
    part.group = ExceptionGroup("group", [part, part])  # type: ignore[attr-defined]
    part.__cause__ = part.group  # type: ignore[attr-defined]
    return part.group  # type: ignore[attr-defined,no-any-return]


def circle_of_causes() -> Exception:
    one, other = Linked("one"), Linked("other")
    one.__cause__, other.__cause__ = other, one
    one.__context__, other.__context__ = other, one
    return one


def long_chain() -> Exception:
    error: Exception = Linked("first")
    for number in range(20_000):
        later = Linked(str(number))
        later.__context__ = error
        error = later
    return error


def shared_containers() -> Exception:
    items: Any = ("leaf",)
    for _ in range(DEPTH):
        items = (items, items)
    error = Linked("containers")
    error.items = items  # type: ignore[attr-defined]
    error.text = "kept"  # type: ignore[attr-defined]
    return error


def shared_containers_as_argument() -> Exception:
    items: Any = ["leaf"]
    for _ in range(DEPTH):
        items = [items, items]
    return Linked(items)


def endless_notes() -> Exception:
    error = Linked("noted")
    error.__notes__ = ["note"] * 1_000_000
    return error


def noted_graph() -> Exception:
    error = Linked("noted")
    error.__notes__ = [shared_arguments(), error, shared_containers_as_argument().args]  # type: ignore[list-item]
    return error


GRAPHS: dict[str, Callable[[], Exception]] = {
    make.__name__: make
    for make in (
        itself,
        pair,
        web,
        tree,
        shared_attributes,
        shared_keywords,
        shared_arguments,
        own_argument,
        shared_groups,
        wide_groups,
        group_in_its_part,
        circle_of_causes,
        long_chain,
        shared_containers,
        shared_containers_as_argument,
        endless_notes,
        noted_graph,
    )
}
"""Exceptions with more ways through them than anything could follow."""

FILLING = " " * 20_000_000


class Narrating(Exception):
    """Makes its text itself."""

    def __str__(self) -> str:
        return f"begin{FILLING}end"


VAST: dict[str, Callable[[], Exception]] = {
    "argument": lambda: Linked(f"begin{FILLING}end"),
    "lines": lambda: Linked("begin" + "\n" * 20_000_000 + "end"),
    "custom text": lambda: Narrating("short"),
}
"""Exceptions with a text of 20 MB."""


def echo(value: Any) -> Any:
    """Raise the exception of this name; else return the value."""
    make = {**GRAPHS, **VAST}.get(value)
    if make is not None:
        raise make()
    return value


async def echo_async(value: Any) -> Any:
    """Do what `echo()` does."""
    return echo(value)
