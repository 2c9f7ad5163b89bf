"""docs/architecture.md describes the code as it is: its ladder, its files, its classes and their methods."""

import ast
import re
import tomllib
from collections.abc import Iterator
from functools import cache

from tests.docs.pages import ROOT, prose

PAGE = ROOT / "docs/architecture.md"
PACKAGES = {"event_collector": ROOT, "event_collector_workers": ROOT / "workers"}


def test_the_ladder_is_that_of_the_contracts() -> None:
    """Each step of a ladder has the rooms that the import contract has on that layer."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = {
        contract["containers"][0]: [set(layer.split(" | ")) for layer in contract["layers"]]
        for contract in settings["tool"]["importlinter"]["contracts"]
        if contract["type"] == "layers"
    }
    assert contracts == {package: list(steps(package)) for package in PACKAGES}


def steps(package: str) -> Iterator[set[str]]:
    """Yield the rooms of each step of a package; the entry points share a step, and are two layers."""
    part = PAGE.read_text().partition(f"### `{package}`\n")[2].partition("\n#")[0]
    found: dict[int, list[str]] = {}
    for step, rooms in re.findall(r"^\| (\d+) \| (.+?) \|", part, re.MULTILINE):
        found.setdefault(int(step), []).extend(re.findall(r"`(\w+)(?:/|\.py)`", rooms))
    assert list(found) == list(range(1, len(found) + 1))
    for rooms in found.values():
        yield set(rooms)


def test_every_file_that_is_named_exists() -> None:
    """A path is relative to event_collector, or to the root of the project."""
    paths = re.findall(r"`([\w/]+\.py|[\w/]+/)`", prose(PAGE))
    bases = (ROOT, ROOT / "event_collector", ROOT / "workers/event_collector_workers")
    assert len(paths) > 40
    assert [path for path in paths if not any((base / path).exists() for base in bases)] == []


@cache
def classes() -> dict[str, set[str]]:
    """Return the classes of both packages, each with the names of its methods and fields."""
    return {
        node.name: set(members(node))
        for package, root in PACKAGES.items()
        for path in (root / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    }


def members(node: ast.ClassDef) -> Iterator[str]:
    """Yield what a class defines, and the attributes of self that its methods use."""
    for child in ast.walk(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield child.name
        elif isinstance(child, ast.AnnAssign) and isinstance(child.target, ast.Name):
            yield child.target.id
        elif isinstance(child, ast.Attribute) and isinstance(child.value, ast.Name) and child.value.id == "self":
            yield child.attr


def test_every_member_that_is_named_exists() -> None:
    """`Class.member` in the page is a method or a field of that class."""
    named = set(re.findall(r"`([A-Z]\w+)\.(\w+)", prose(PAGE)))
    assert len(named) > 70
    assert {(owner, member) for owner, member in named if member not in classes().get(owner, ())} == set()


def test_every_owner_exists() -> None:
    """The first column of the tables of owners has classes."""
    part = PAGE.read_text().partition("## Who owns what\n")[2].partition("\n## ")[0]
    owners = [
        name for cell in re.findall(r"^\| (`.+?) \|", part, re.MULTILINE) for name in re.findall(r"`(\w+)`", cell)
    ]
    assert len(owners) > 50
    assert set(owners) <= set(classes())
