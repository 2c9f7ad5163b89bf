"""The structure of the packages: rooms, names, imports, and the parts of asyncio that they use."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
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

FOREIGN = {
    "event_collector/tiers/executors/dask/plugins.py": {"scheduler.handlers"},  # as Dask asks plugins to
    "event_collector/journal/journal_place.py": {"db.text_factory"},  # sqlite3 has no other way to set it
    "workers/event_collector_workers/error_texts.py": {
        "_outline.maxlevel",
        "_outline.maxstring",
    },  # Python 3.11 has no arguments
    "event_collector/command/logs.py": {"record.exc_text"},  # logging has no other way to give a record a text
    "event_collector/life/logger.py": {"record.exc_text", "record.stack_info"},
    "workers/event_collector_workers/child/forwarding.py": {
        "warnings.showwarning",
        "threading.excepthook",
        "loader.exec_module",
    },  # hooks of the standard library are set like this
    "event_collector/sources/redis_stream.py": {"pool.max_connections"},  # redis has no other way to raise it
    "event_collector/remote/host.py": {"self._decode.envelope"},  # a call for each event, and no other caller
    "event_collector/values/results.py": {"outcome.key", "result.key"},  # as_result() belongs to the classes of results
    "workers/event_collector_workers/child/random_streams.py": {"one.state"},  # as NumPy has its users seed anew
    "workers/event_collector_workers/executor/scaled_executor.py": {"weakref.finalize().atexit"},
    "workers/event_collector_workers/launch/preload.py": {"current._inheriting"},  # multiprocessing has no public way
}
"""Attributes that are set from outside of their class, each with its reason."""


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
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are absolute"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in known else node.module or ""
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@cache
def tree_of(path: Path) -> ast.Module:
    """Return a module as Python parses it."""
    return ast.parse(path.read_text())


Function = ast.FunctionDef | ast.AsyncFunctionDef


def stores(tree: ast.AST) -> Iterator[ast.Attribute]:
    """Yield the attributes that are set or deleted in a part of a module, or an item of which is."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Subscript) and not isinstance(node.ctx, ast.Load):
            target = node.value if isinstance(node, ast.Subscript) else node
            if isinstance(target, ast.Attribute):
                yield target


def base(target: ast.Attribute) -> str:
    """Return the name of the object whose attribute it is; empty if it has none."""
    return target.value.id if isinstance(target.value, ast.Name) else ""


def own_names(body: list[ast.stmt]) -> set[str]:
    """Return the names of objects that these statements make: functions, classes, and instances of classes."""
    names = set()
    for node in (inner for statement in body for inner in ast.walk(statement)):
        if isinstance(node, Function | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            made = node.value.func.id if isinstance(node.value.func, ast.Name) else ""
            if made[:1].isupper() or made in ("cls", "copy"):
                names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return names


def foreign_stores(path: Path) -> Iterator[ast.Attribute]:
    """Yield the attributes that a module sets of objects that are not its own, nor made on the spot."""
    tree = tree_of(path)
    inside = {id(store): node for node in ast.walk(tree) if isinstance(node, Function) for store in stores(node)}
    of_module = {target.id for node in tree.body if isinstance(node, ast.Assign) for target in node.targets
                 if isinstance(target, ast.Name)}  # fmt: skip
    of_module |= {node.name for node in tree.body if isinstance(node, ast.ClassDef)} | {"self", "sys"}
    for store in stores(tree):
        function = inside.get(id(store))
        here = of_module | (own_names(function.body) if function is not None else set())
        # __cause__, __class__ and the arguments of an exception have no owner.
        if base(store) not in here and not store.attr.startswith("__") and store.attr != "args":
            yield store


def writers() -> dict[str, set[str]]:
    """Return the methods, as "Class.method", and functions that write attributes, each with their names."""
    found = defaultdict(set)
    for path in modules().values():
        for node in ast.walk(tree_of(path)):
            functions = node.body if isinstance(node, ast.ClassDef | ast.Module) else []
            owner = f"{node.name}." if isinstance(node, ast.ClassDef) else ""
            for function in functions:
                if isinstance(function, Function):
                    names = {store.attr for store in stores(function) if not owner or base(store) == "self"}
                    found[owner + function.name] |= names
    return found


def classes() -> Iterator[tuple[str, str]]:
    """Yield the name of each class, and where it is."""
    for name, path in modules().items():
        for node in ast.walk(tree_of(path)):
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


def test_each_field_has_one_writer() -> None:
    """A field of another object is set by a method of its owner, or by a line whose comment names such a method."""
    methods, problems = writers(), []
    for path in modules().values():
        lines, known = path.read_text().splitlines(), FOREIGN.get(str(path.relative_to(ROOT)), set())
        for store in foreign_stores(path):
            comment = lines[store.lineno - 1].partition("  # ")[2]
            repeated = re.findall(r"([\w.]+)\(\)", comment)
            text = re.sub(r"\(.*\)", "()", ast.unparse(store))
            if not any(store.attr in methods.get(name, ()) for name in repeated) and text not in known:
                problems.append(f"{path.relative_to(ROOT)}:{store.lineno}: {lines[store.lineno - 1].strip()}")
    assert problems == []


def test_files_are_short() -> None:
    """No file has more than 400 lines."""
    long = {name: lines for name, path in modules().items() if (lines := path.read_text().count("\n")) > 400}
    assert long == {}
