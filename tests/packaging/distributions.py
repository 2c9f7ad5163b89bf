"""The distributions of this checkout: building them, looking into them, the interpreters to install them on."""

import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path
from typing import NamedTuple

__all__ = ["EXTRAS", "ROOT", "VERSIONS", "Distributions", "build", "interpreter", "run"]

ROOT = Path(__file__).parents[2]
VERSIONS = ("3.11", "3.12", "3.13")
EXTRAS = tuple(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
LIMIT = 300.0
"""Seconds that one step may take: far more than it ever should."""


class Distributions(NamedTuple):
    """What was built."""

    sdist: Path
    wheel: Path

    def metadata(self) -> Message:
        """Return the metadata of the wheel."""
        with zipfile.ZipFile(self.wheel) as archive:
            return Parser().parsestr(archive.read(f"{self._info()}/METADATA").decode())

    def files(self) -> set[str]:
        """Return the files of the wheel, but for its metadata."""
        with zipfile.ZipFile(self.wheel) as archive:
            return {name for name in archive.namelist() if not name.startswith(f"{self._info()}/")}

    def entry_points(self) -> str:
        """Return the file of entry points."""
        with zipfile.ZipFile(self.wheel) as archive:
            return archive.read(f"{self._info()}/entry_points.txt").decode()

    def sources(self) -> set[str]:
        """Return the files of the sdist, as paths in the checkout."""
        with tarfile.open(self.sdist) as archive:
            return {name.partition("/")[2] for name in archive.getnames()}

    def _info(self) -> str:
        return "-".join(self.wheel.name.split("-")[:2]) + ".dist-info"


def build(folder: Path) -> Distributions:
    """Build the sdist, and from it the wheel, with what is installed here."""
    run([sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)])
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return Distributions(sdist, wheel)


def interpreter(version: str) -> Path | None:
    """Return an interpreter of a version: the running one, one on the PATH, or pyenv's; None if there is none."""
    if sys.version_info[:2] == tuple(map(int, version.split("."))):
        return Path(sys.executable)
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [shutil.which(f"python{version}"), *sorted(pyenv.glob(f"{version}.*/bin/python"))]
    for found in filter(None, candidates):
        if subprocess.run([found, "-c", "import venv"], capture_output=True, check=False).returncode == 0:
            return Path(found)  # a shim of pyenv's is on the PATH also for versions that are not there
    return None


def run(command: list[str], folder: Path | None = None, **variables: str) -> str:
    """Run a command, without this checkout on its path; return what it printed.

    Raises:
        AssertionError: it failed; the text holds all that it printed.

    """
    hidden = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if name not in hidden} | variables
    done = subprocess.run(
        command, cwd=folder, env=environment, timeout=LIMIT, text=True, check=False,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}"
    return done.stdout
