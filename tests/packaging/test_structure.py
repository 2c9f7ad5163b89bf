"""The structure of the packages: rooms, names, imports, and the parts of asyncio that they use."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {"event_collector": ROOT, "event_collector_workers": ROOT / "workers"}
FACES = {"collector", "metrics", "router", "snapshot"}
"""Module paths that users import, each with a room's module of the same name that holds its code."""
PRIVATE_ASYNCIO = re.compile(
    r"asyncio\._\w+|from asyncio import [^\n]*\b_\w+|\btasks\._\w+|\bloop\._\w+"
    r"|_asyncio_future_blocking|_must_cancel|_fut_waiter|_get_running_loop"
)
KNOWN_PRIVATE = {"event_collector/testing/manual_clock.py": {"loop._ready", "loop._scheduled"}}
"""A clock that is moved by hand has to know when a loop is idle and when its next timer is due. asyncio has no public
way to ask a loop that runs already; only tests use it."""


def modules() -> dict[str, Path]:
    """Return all modules of both packages, by name."""
    found = {}
    for package, root in PACKAGES.items():
        for path in (root / package).rglob("*.py"):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """Yield the modules of ours that a file imports, in functions and for type checkers too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are absolute"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in known else node.module or ""
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def classes() -> Iterator[tuple[str, str]]:
    """Yield the name of each class, and where it is."""
    for name, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                yield node.name, f"{name}:{node.lineno}"


def test_no_module_imports_itself_through_others() -> None:
    """The graph of imports has no circle, also if imports for type checkers and in functions count."""
    known = modules()
    graph = {
        name: {one for one in imports(path, known) if one in known and one != name} for name, path in known.items()
    }
    while leaves := {name for name, targets in graph.items() if not targets}:
        graph = {name: targets - leaves for name, targets in graph.items() if name not in leaves}
    assert graph == {}


def test_no_name_means_two_things() -> None:
    """Each module and each class of both packages has a name of its own."""
    stems = defaultdict(set)
    for name in modules():
        stems[name.rpartition(".")[2]].add(name)
    doubles = {stem for stem, names in stems.items() if len(names) > 1} - {"__main__"}
    assert doubles == FACES
    places = defaultdict(list)
    for name, place in classes():
        places[name].append(place)
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


@pytest.mark.parametrize("package", PACKAGES)
def test_the_top_is_what_users_import(package: str) -> None:
    """At most 18 files stand at the top, and no room has more than 20 modules."""
    top = PACKAGES[package] / package
    assert len(list(top.glob("*.py"))) <= 18
    for room in (path.parent for path in top.glob("*/**/__init__.py")):
        assert len(list(room.glob("*.py"))) <= 21, f"{room}: 20 modules and __init__"


def test_only_public_names_of_asyncio_are_used() -> None:
    """Users have versions of Python that are not tested here: private names may be gone there."""
    found = {
        str(path.relative_to(ROOT)): names
        for path in modules().values()
        if (names := set(PRIVATE_ASYNCIO.findall(path.read_text())))
    }
    assert found == KNOWN_PRIVATE


def test_files_are_short() -> None:
    """No file has more than 400 lines."""
    long = {name: lines for name, path in modules().items() if (lines := path.read_text().count("\n")) > 400}
    assert long == {}
