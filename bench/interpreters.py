"""Where the interpreters of a comparison come from: this checkout's virtual environments, and the other library's."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["EXISTING", "ROOT", "Unavailable", "existing_library", "interpreter_of", "version_of"]

ROOT = Path(__file__).parent.parent
EXISTING = "event-collector==0.2.4"
"""The library whose users this project wants to take with it; it needs Python 3.13 or later."""
_EXISTING_VERSIONS = ("3.13", "3.14")
_REFERENCE = ROOT / "bench" / ".venv-reference"


class Unavailable(Exception):
    """A side of a comparison cannot be had on this machine; the text says why and what would help."""


def version_of(python: Path) -> str | None:
    """Return "3.13.0" of an interpreter; None if it does not run."""
    try:
        return _run(python, "-c", "import platform; print(platform.python_version())").strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def interpreter_of(version: str | None) -> Path:
    """Return the interpreter of a virtual environment with this project in it; None: the running one.

    Looks for one in the checkout (.venv, .venv-3.13), else makes bench/.venv-3.13 with an interpreter that it finds.

    Raises:
        Unavailable: there is no such Python.

    """
    if version is None:
        return Path(sys.executable)
    made = ROOT / "bench" / f".venv-{version}"
    for folder in (ROOT / ".venv", ROOT / f".venv-{version}", made):
        if _is_version(python := folder / "bin" / "python", version):
            return python
    return _make(made, _find(version), "--editable", str(ROOT))


def existing_library() -> Path:
    """Return the interpreter of a virtual environment with the existing library, made if it is not there.

    Raises:
        Unavailable: there is no Python for it, or it cannot be installed.

    """
    python = _REFERENCE / "bin" / "python"
    if python.exists() and _has(python, EXISTING):
        return python
    for version in _EXISTING_VERSIONS:
        try:
            return _make(_REFERENCE, _find(version), EXISTING, "uvloop")
        except Unavailable as exc:
            reason = exc
    raise Unavailable(f"{EXISTING} is left out, it needs Python {_EXISTING_VERSIONS[0]} or later: {reason}")


def _find(version: str) -> Path:
    """Return a Python of this version: that of $PYTHON3_13, on the PATH, or pyenv's."""
    variable = "PYTHON" + version.replace(".", "_")
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [
        os.environ.get(variable),
        shutil.which(f"python{version}"),
        *sorted(pyenv.glob(f"{version}.*/bin/python"), reverse=True),
    ]
    for candidate in candidates:
        if candidate and _is_version(Path(candidate), version):
            return Path(candidate)
    raise Unavailable(f"no Python {version} found: not in ${variable}, on the PATH, or below {pyenv}")


def _make(folder: Path, python: Path, *requirements: str) -> Path:
    print(f"making {folder} with {' '.join(requirements)}", file=sys.stderr)
    try:
        _run(python, "-m", "venv", "--clear", str(folder))
        made = folder / "bin" / "python"
        _run(made, "-m", "pip", "install", "--quiet", *requirements)
    except subprocess.CalledProcessError as exc:
        shutil.rmtree(folder, ignore_errors=True)
        raise Unavailable(f"{' '.join(requirements)} cannot be installed for {python}:\n{exc.stderr}") from exc
    return made


def _has(python: Path, requirement: str) -> bool:
    name, _, version = requirement.partition("==")
    try:
        found = _run(python, "-c", f"import importlib.metadata as m, uvloop; print(m.version({name!r}))")
    except subprocess.CalledProcessError:
        return False
    return found.strip() == version


def _is_version(python: Path, version: str) -> bool:
    return (version_of(python) or "").startswith(f"{version}.")


def _run(python: Path, *arguments: str) -> str:
    command = [str(python), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
