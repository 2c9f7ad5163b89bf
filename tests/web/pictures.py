"""The pictures of the documentation: `python -m tests.web.pictures` draws them in a real browser."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

from tests.web.browsing import Browser, serving, until

PICTURES = Path(__file__).parents[2] / "docs" / "images"
SECONDS = 75.0
"""The plots need a history, and the task stream a minute."""

VIEWS = (
    ("overview", "/1/", 1280, 860, "light"),
    ("task-stream", "/1/workers", 1280, 560, "dark"),
    ("phone", "/1/", 390, 844, "light"),
)


def main() -> None:
    """Draw all pictures."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder, "q.sock")
        command = [sys.executable, "-m", "tests.web.shown_program", str(socket)]
        with subprocess.Popen(command, cwd=Path(__file__).parents[2]) as program, serving(str(socket)) as address:
            browser = Browser(Path(folder, "profile"))
            try:
                time.sleep(SECONDS)
                for name, path, width, height, theme in VIEWS:
                    browser.look_like(width, theme, height)
                    browser.open(address + path)
                    until(lambda: "running" in browser.text("#state") and not browser.blank_canvases(), name)
                    time.sleep(2.5)
                    picture = PICTURES / f"{name}.png"
                    browser.picture(picture)
                    Image.open(picture).convert("RGB").quantize(96).save(picture, optimize=True)
            finally:
                browser.close()
                program.terminate()


if __name__ == "__main__":
    main()
