"""What the documentation shows is so: its programs run, its commands exist, its links lead somewhere."""

import ast
import inspect
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import event_collector
import event_collector.exceptions
import event_collector_workers
from event_collector.data import Payload
from event_collector.remote.codec import PayloadDecoder, encode_payload
from event_collector.remote.fidelity import Fidelity
from event_collector_workers.autoscaler import Tuning
from tests.docs.options import reference_table
from tests.docs.pages import PAGES, ROOT, Block, anchor, blocks, commands, headings, links, matches, prose, table
from tests.event_collector.encoding.sample_travellers import same

LIMIT = 60.0
"""Seconds that one program of a page may take: far more than it ever should."""

OPTION = re.compile(r"(?<![\w-])--?[a-z][a-z-]*")
ACTIONS = ("pause", "resize", "profile", "dead-letters list", "dead-letters replay")
"""The actions of `event-collector ctl` that have all its options between them."""
PROGRAMS = (
    "event-collector ctl",
    "event-collector run",
    "event-collector bench",
    "event-collector journal",
    "event-collector top",
    "event-collector web",
    "event-collector check",
    "event-collector",
    "python -m bench.front_end",
    "python -m bench.process_tier",
    "python -m bench.imports",
    "python -m bench.autoscaler",
    "python -m bench.brokers",
    "python -m bench.pipelines",
    "python -m bench.hosts",
)
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


# -- blocks --


@every_page
def test_every_program_runs_and_prints_what_the_page_says(
    page: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All blocks of a page, one after the other, do what the page shows."""
    if page.name == "arrays.md":
        import_libraries()
    module = ModuleType(f"page_{page.stem.lower()}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    printed = ""
    for block in blocks(page):
        if block.marker == "output":
            assert matches(block.text, printed), f"line {block.line} of {page.name}: got\n{printed}"
        elif block.marker == "run":
            run_console(block, page, tmp_path)
        elif block.language == "python" or block.marker.startswith("file: "):
            printed = execute(block, page, tmp_path, module) or capsys.readouterr().out


def execute(block: Block, page: Path, folder: Path, module: ModuleType) -> str:
    """Do with a Python block what its marker says; return what a program of its own printed."""
    kind, _, name = block.marker.partition(": ")
    if kind == "file":
        (folder / name).write_text(block.text)
    elif kind == "script":
        (folder / "script.py").write_text(block.text)
        return shell("python script.py", folder)
    else:
        assert not kind, f"line {block.line} of {page.name}: what is {block.marker!r}?"
        lines = "\n" * (block.line - 1) + block.text  # tracebacks name the line of the page
        exec(compile(lines, str(page), "exec"), vars(module))
    return ""


def run_console(block: Block, page: Path, folder: Path) -> None:
    for command in commands(block):
        printed = shell(command.line, folder)
        assert matches(command.output, printed), f"{page.name}: {command.line}: got\n{printed}"


def shell(line: str, folder: Path) -> str:
    """Run one line in a folder, with this environment's programs; return all that it printed."""
    paths = [str(ROOT), str(ROOT / "workers")]
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONWARNINGS": "error",
    }
    started = subprocess.Popen(
        ["bash", "-c", line], cwd=folder, env=environment, text=True, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        return started.communicate(timeout=LIMIT)[0]
    except subprocess.TimeoutExpired:
        os.killpg(started.pid, signal.SIGKILL)  # all of the line, not only bash
        printed = started.communicate()[0]
        raise AssertionError(f"{line}: not done after {LIMIT} s, printed\n{printed}") from None


@every_page
def test_every_file_of_a_page_is_used(page: Path) -> None:
    """A block that is saved as a file is run by a command of the page, or imported there or by another file."""
    consoles = "".join(block.text for block in blocks(page) if block.marker == "run")
    files = {
        name: block.text for block in blocks(page) for kind, _, name in [block.marker.partition(": ")] if kind == "file"
    }
    for name in files:
        stem = Path(name).stem
        imported = any(f"from {stem} import" in text for text in files.values())
        assert imported or name in consoles or stem in consoles, name


# -- commands --


@cache
def options_of(program: str) -> frozenset[str]:
    """Return the options that the help of a program explains, or of its actions."""
    if program.endswith(" ctl"):
        return frozenset().union(*(options_of(f"{program} PATH {action}") for action in ACTIONS))
    explained = re.findall(r"^  (-.*)$", shell(f"{program} --help", ROOT), re.MULTILINE)
    return frozenset(option for line in explained for option in OPTION.findall(line.partition("  ")[0]))


def shown_commands(page: Path) -> Iterator[tuple[str, str]]:
    """Yield the programs that a page shows, each with the rest of its line."""
    found = blocks(page)
    lines = [line for block in found if block.language == "sh" for line in block.text.splitlines()]
    lines += [command.line for block in found if block.language == "console" for command in commands(block)]
    for text in [*lines, *re.findall(r"`([^`\n]+)`", prose(page))]:
        program = next((program for program in PROGRAMS if f"{program} " in text), None)
        if program is not None:
            yield program, re.split(r" \| |;|#|>", text.partition(program)[2])[0]


@every_page
def test_every_option_that_is_shown_exists(page: Path) -> None:
    """Options in the commands of a page are in the help of their program."""
    for program, rest in shown_commands(page):
        for option in OPTION.findall(rest):
            assert option in options_of(program), f"{program} {rest}"


@pytest.mark.parametrize(
    ("page", "commands"),
    [
        ("command", ["run"]),
        ("choosing", ["bench"]),
        ("journal", ["journal"]),
        ("watching", ["top", "web", "check", "ctl"]),
    ],
)
def test_the_page_of_a_command_has_every_option(page: str, commands: list[str]) -> None:
    """The page of a command names what --help names, no more and no less."""
    named = {
        option
        for code in re.findall(r"`([^`\n]+)`", prose(ROOT / f"docs/{page}.md"))
        if code.startswith("-")
        for option in OPTION.findall(code)
    }
    explained = frozenset().union(*(options_of(f"event-collector {command}") for command in commands))
    assert named - {"-lock", "-running", "-wal", "-shm"} == explained


@every_page
def test_every_target_of_make_that_is_shown_exists(page: Path) -> None:
    """`make NAME` in a page is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    code = [block.text for block in blocks(page)] + re.findall(r"`([^`\n]+)`", prose(page))
    shown = {name for text in code for name in re.findall(r"(?:^|\$ )make ([a-z-]+)", text, re.MULTILINE)}
    assert shown <= targets


# -- names, links --


def test_every_public_error_has_its_section() -> None:
    """docs/errors.md has a heading for each exported exception, and for nothing else that looks like one."""
    exported = {
        name
        for module in (event_collector, event_collector.exceptions, event_collector_workers)
        for name in module.__all__
        if isinstance(found := getattr(module, name), type) and issubclass(found, BaseException)
    }
    described = {heading.strip("`") for heading in headings(ROOT / "docs/errors.md") if heading.startswith("`")}
    assert described == exported


@every_page
def test_every_link_leads_somewhere(page: Path) -> None:
    """A link to a file finds the file, and a link to a heading the heading."""
    for target in links(page):
        if target.startswith("https://"):
            continue
        name, _, fragment = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), target
        assert not fragment or fragment in map(anchor, headings(file)), target


def test_the_front_page_leads_to_every_page() -> None:
    """docs/index.md links to each page, and has it in the tree of contents."""
    front = ROOT / "docs/index.md"
    pages = {str(page.relative_to(front.parent)) for page in PAGES if page.is_relative_to(front.parent)}
    pages -= {"index.md"}
    trees = "".join(block.text for block in blocks(front) if block.language == "{toctree}")
    assert set(links(front)) >= pages
    assert {f"{line}.md" for line in trees.splitlines() if line and not line.startswith(":")} == pages


def test_the_page_of_examples_leads_to_every_example() -> None:
    """docs/examples.md links to each file of docs/examples."""
    page = ROOT / "docs/examples.md"
    files = (page.parent / "examples").iterdir()
    assert set(links(page)) >= {f"examples/{file.name}" for file in files if file.is_file()}


def test_the_reference_shows_what_a_collector_takes() -> None:
    """The signature written there, in place of the overloads for type checkers, is that of the class."""
    shown = re.search(r"autoclass:: event_collector.collector.Collector(\(.*\))$", reference(), re.MULTILINE)
    plain = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for parameter in inspect.signature(event_collector.Collector).parameters.values()
    ]
    assert shown is not None
    assert shown[1] == str(inspect.Signature(plain))


def test_the_reference_shows_the_options_of_a_queue() -> None:
    """The table of docs/reference.md is made of the table that checks the options."""
    wanted = reference_table()
    assert f"\n\n{wanted}\n\n" in reference(), f"the table should be\n{wanted}"


def reference() -> str:
    return (ROOT / "docs/reference.md").read_text()


# -- values --


def test_the_table_of_values_is_what_happens() -> None:
    """Each row of docs/values.md, evaluated, sent and received as a worker would, comes out as it says."""
    page = ROOT / "docs/values.md"
    names: dict[str, object] = {}
    for block in blocks(page):
        if block.language == "python" and not block.marker:
            exec(block.text, names)
    rows = table(page, "sent")
    assert len(rows) > 15
    for sent, untyped, annotation, typed in rows:
        value = eval(sent.strip("`"), names)
        assert show(received(value, None)) == show(eval(untyped.strip("`"), names)), sent
        if annotation:
            asked = eval(annotation.strip("`"), names)
            wanted = value if typed == "the same" else eval(typed.strip("`"), names)
            assert show(received(value, asked)) == show(wanted), sent


def received(value: object, asked: object) -> object:
    kind = Any if asked is None else asked
    body, blob = encode_payload(Payload(value), "values", fidelity=Fidelity(kind))
    return PayloadDecoder(kind, "values")(body, blob).value


def show(value: object) -> str:
    return f"{type(value).__name__} {value.tolist() if isinstance(value, memoryview) else value!r}"


def import_libraries() -> None:
    """Skip the test if a library of docs/arrays.md is missing."""
    for library in ("numpy", "pandas", "polars", "pyarrow", "PIL", "pydantic"):
        pytest.importorskip(library)


def test_the_table_of_arrays_is_what_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each row of docs/arrays.md arrives as it was sent, in a handler with and without an annotation."""
    import_libraries()
    page = ROOT / "docs/arrays.md"
    module = ModuleType("page_of_arrays")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for block in blocks(page):
        if block.language == "python" and not block.marker:
            exec(block.text, vars(module))
    rows = table(page, "sent")
    assert len(rows) > 15
    for sent, annotation in rows:
        value = eval(sent.strip("`"), vars(module))
        assert same(received(value, None), value), sent
        if annotation:
            assert same(received(value, eval(annotation.strip("`"), vars(module))), value), sent


# -- layout --


def test_the_layout_describes_every_room() -> None:
    """CONTRIBUTING.md has each package's top files and folders, in the words of their own docstrings."""
    page = (ROOT / "CONTRIBUTING.md").read_text()
    for package in (ROOT / "event_collector", ROOT / "workers/event_collector_workers"):
        part = page.partition(f"### `{package.name}`\n")[2].partition("\n##")[0]
        files = {path.name: path for path in package.glob("*.py") if not path.name.startswith("__")}
        rooms = {f"{path.parent.relative_to(package)}/": path for path in package.glob("*/**/__init__.py")}
        assert dict(re.findall(r"^\| `([\w./]+)` \| (.+) \|$", part, re.MULTILINE)) == {
            name: first_sentence(path) for name, path in (files | rooms).items()
        }


def first_sentence(path: Path) -> str:
    """Return the first paragraph of a module's docstring, as one line."""
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    return text.partition("\n\n")[0].replace("\n", " ")


def test_the_page_of_the_autoscaler_has_every_constant() -> None:
    """Each constant of the law stands there with its value and the words of its documentation, in that order."""
    shown = [
        tuple(cell.strip() for cell in line.strip("|").split("|"))
        for line in (ROOT / "docs" / "autoscaling.md").read_text().partition("## All constants")[2].splitlines()
        if line.startswith("| `")
    ]
    assert shown == documented_fields(Tuning)


def documented_fields(kind: type) -> list[tuple[str, ...]]:
    """Name, value and documentation of each field of a class."""
    source = inspect.getsource(kind)
    (body,) = (node.body for node in ast.parse(source).body if isinstance(node, ast.ClassDef))
    return [
        (f"`{ast.unparse(field.target)}`", str(ast.get_source_segment(source, field.value)), words(text))
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign) and field.value is not None
    ]


def words(node: ast.stmt) -> str:
    """The text of a docstring, on one line."""
    assert isinstance(node, ast.Expr)
    assert isinstance(node.value, ast.Constant)
    return " ".join(str(node.value.value).split())
