"""What users install: complete, typed, with its command, and working with each extra alone, on every version."""

import re
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.packaging.distributions import EXTRAS, ROOT, VERSIONS, Distributions, build, interpreter, run

PACKAGES = {"event_collector": ROOT, "event_collector_workers": ROOT / "workers"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    return build(tmp_path_factory.mktemp("dist"))


IMPORT_ALL = """
import sys
import event_collector, event_collector_workers, event_collector.cli
from event_collector import *
from event_collector_workers import *
assert event_collector.__file__.startswith(sys.argv[1]), event_collector.__file__
assert event_collector_workers.__file__.startswith(sys.argv[1]), event_collector_workers.__file__
sys.argv[1:] = ["--help"]
event_collector.cli.main()
"""


def test_the_wheel_has_all_that_is_needed_and_nothing_else(built: Distributions, tmp_path: Path) -> None:
    """Both packages with py.typed, the command, the plugin; made from the sdist, it can be imported with -W error."""
    tracked = {
        path.relative_to(root).as_posix()
        for name, root in PACKAGES.items()
        for path in (root / name).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert built.files() == tracked
    assert {"event_collector/py.typed", "event_collector_workers/py.typed"} <= tracked
    assert "event-collector = event_collector.cli:main" in built.entry_points()
    assert "[pytest11]\nevent_collector = event_collector.testing.plugin" in built.entry_points()
    with zipfile.ZipFile(built.wheel) as archive:
        archive.extractall(tmp_path)
    printed = run([sys.executable, "-P", "-W", "error", "-c", IMPORT_ALL, str(tmp_path)], PYTHONPATH=str(tmp_path))
    assert "usage: event-collector" in printed


def test_the_metadata_says_what_the_project_file_says(built: Distributions) -> None:
    """Name, version, Python, licence, extras, and a description that renders: the README."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    metadata = built.metadata()
    assert (metadata["Name"], metadata["Version"]) == (project["name"], project["version"])
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert str(metadata.get_payload()).startswith("# event_collector")
    assert sorted(metadata.get_all("Provides-Extra", [])) == sorted(project["optional-dependencies"]) == sorted(EXTRAS)
    for version in VERSIONS:
        assert f"Programming Language :: Python :: {version}" in metadata.get_all("Classifier", [])


def test_the_sdist_has_the_sources_the_tests_and_no_waste(built: Distributions) -> None:
    """What git tracks, but for what only continuous integration needs: one can test and build from it."""
    sources = built.sources()
    try:
        listed = run(["git", "ls-files"], ROOT)
    except (OSError, AssertionError):
        pytest.skip("this is no git checkout, or there is no git: what should be in the sdist is not known")
    tracked = {name for name in listed.splitlines() if (ROOT / name).exists()}
    assert {name for name in tracked - sources if not name.startswith(".ci/")} == set()
    made = {name for name in sources if "." in Path(name).name} - tracked
    assert {name for name in made if "__pycache__" in name or ".venv" in name or name.endswith(".pyc")} == set()


def test_every_extra_is_named_where_it_is_missed() -> None:
    """Each extra is in a page with its pip line; and a pip line in sources or pages names an extra that exists."""
    files = [*ROOT.glob("event_collector/**/*.py"), *ROOT.glob("docs/*.md"), ROOT / "README.md"]
    text = "".join(path.read_text() for path in files)
    named = {
        extra for found in re.findall(r"(?:event-collector-hybrid|'\.)\[([\w,]+)\]", text) for extra in found.split(",")
    }
    called = set(re.findall(r"(?:install_line|missing)\(['\"](\w+)['\"]", text))
    assert (named - {"extra"}) | called == set(EXTRAS)
    assert set(USES) == {"", *EXTRAS}, "say what the new extra is for, below"


# -- real installations --

HANDLERS = "def double(value: int) -> int:\n    return value * 2\n"
USES = {
    "": "pass",
    "cloudpickle": "import cloudpickle",
    "dask": "import event_collector.tiers.executors.dask.cluster, distributed",
    "nats": "import event_collector.sources.jetstream_pull, nats",
    "opentelemetry": "import event_collector.opentelemetry",
    "progress": "import rich.progress",
    "prometheus": "import event_collector.prometheus",
    "redis": "import event_collector.sources.redis_stream, redis.asyncio",
    "top": "import rich.live, event_collector.command.top",
    "web": "from event_collector.web import dashboard",
}
"""What an extra is for, in a line that fails without it."""


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("version", VERSIONS)
def test_it_installs_and_works_with_each_extra_alone(version: str, built: Distributions, tmp_path: Path) -> None:
    """In a clean environment: pip check, import with -W error, the command with workers, the extra's module."""
    python = interpreter(version)
    if python is None:
        pytest.skip(f"no Python {version}: none on the PATH as python{version}, none in ~/.pyenv/versions")
    (tmp_path / "handlers.py").write_text(HANDLERS)
    for extra, use in USES.items():
        environment = tmp_path / f"with-{extra or 'nothing'}"
        run([str(python), "-m", "venv", str(environment)])
        own, command = environment / "bin" / "python", environment / "bin" / "event-collector"
        wanted = f"{built.wheel}[{extra}]" if extra else str(built.wheel)
        run([str(own), "-m", "pip", "install", "--quiet", wanted])
        run([str(own), "-m", "pip", "check"])
        run([str(own), "-W", "error", "-c", f"import event_collector; {use}"], tmp_path)
        lines = f"printf '1\\n21\\n' | {command} run handlers.py:double --quiet --workers 1"
        assert run(["sh", "-c", lines], tmp_path) == '{"id":1,"ok":2}\n{"id":2,"ok":42}\n'


@pytest.mark.slow
def test_the_sdist_installs(built: Distributions, tmp_path: Path) -> None:
    """From the sources alone, in a clean environment, with a build environment that pip makes."""
    run([sys.executable, "-m", "venv", str(tmp_path / "env")])
    own = tmp_path / "env" / "bin" / "python"
    run([str(own), "-m", "pip", "install", "--quiet", str(built.sdist)])
    assert "usage: event-collector" in run([str(own.parent / "event-collector"), "--help"])
