"""The virtual environment that `make` makes, with programs that stand for Python."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOUND = "#!/bin/sh\nexit 0\n"
BROKEN = "#!/bin/sh\nexit 1\n"

MAKER = """#!/bin/sh
[ "$2" = venv ] || exit 0
echo "$@" >> {log}
for folder; do :; done
mkdir -p $folder/bin && printf '{made}' > $folder/bin/python && chmod +x $folder/bin/python
"""


def make(folder: Path, made: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Make `folder/venv` with a Python whose environments have `made` as their Python; return also its calls."""
    maker, log = folder / "python", folder / "log"
    maker.write_text(MAKER.format(log=log, made=made.replace("\n", "\\n")))
    maker.chmod(0o755)
    venv = folder / "venv"
    done = subprocess.run(
        ["make", "-C", str(ROOT), f"PYTHON={maker}", f"VENV={venv}", f"{venv}/.installed"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done, log.read_text().splitlines() if log.exists() else []


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_a_half_made_environment_is_made_anew(tmp_path: Path) -> None:
    """What `python -m venv` leaves without python3-venv has a Python without pip, and is cleared; others are kept."""
    venv = tmp_path / "venv"
    done, calls = make(tmp_path, BROKEN)
    assert done.returncode != 0
    assert "is no virtual environment with pip: remove it" in done.stderr
    assert calls == [f"-m venv {venv}"]
    put(venv / "pyvenv.cfg", "")
    done, calls = make(tmp_path, SOUND)
    assert (done.returncode, calls[1:]) == (0, [f"-m venv --clear {venv}"]), done.stderr
    (venv / ".installed").unlink()
    done, calls = make(tmp_path, SOUND)
    assert (done.returncode, len(calls)) == (0, 2)
