"""The examples of the documentation run, and do what they say."""

import hashlib
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import sysconfig
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from queue import Queue
from typing import Any

import httpx
import psutil
import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
from PIL import Image

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
BOUND = 100.0
"""Seconds after which a script counts as hanging."""
NOTEBOOK_RUNNER = Path(__file__).with_name("notebook.py")


def run(script: Path, *words: str, folder: Path | None = None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, str(script), *words], capture_output=True, text=True, cwd=folder, timeout=BOUND, check=False
    )


@contextmanager
def started(*command: str, **variables: str) -> Iterator["subprocess.Popen[str]"]:
    """Run a program, with its output in one pipe, for as long as the body; nothing of it stays."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=os.environ | variables, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def line_of(process: "subprocess.Popen[str]", pattern: str) -> "re.Match[str]":
    """Read what a program says up to a line that matches."""
    said = []
    for line in process.stdout or ():
        said.append(line)
        if found := re.search(pattern, line):
            return found
    raise AssertionError(f"the program ended without {pattern!r}:\n{''.join(said)}")


def stop(process: "subprocess.Popen[str]") -> tuple[int, str]:
    """Send SIGTERM, as whoever runs services does; return the exit status and what was said to the end."""
    workers = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=BOUND)[0]
    _, alive = psutil.wait_procs(workers, timeout=BOUND)
    assert not alive
    return process.returncode, said


def test_first_script_prints_its_results_in_order() -> None:
    """A hundred events of 0.25 s take hardly longer than one, and come out as they went in."""
    done = run(EXAMPLES / "example_collector_queue.py")
    assert done.returncode == 0, done.stderr
    results = [line for line in done.stdout.splitlines() if line.startswith("{'id'")]
    assert [re.findall(r"payload-\d+", line) for line in results] == [[f"payload-{n}"] for n in range(100)]
    elapsed = float(re.findall(r"^elapsed=(.*)$", done.stdout, re.MULTILINE)[0])
    assert 0.25 <= elapsed < 2.5


def test_first_script_has_no_more_lines_than_a_newcomer_reads() -> None:
    """The survey of the standard library stays below a hundred lines."""
    assert len((EXAMPLES / "stdlib_survey.py").read_text().splitlines()) < 100


SMALL_SURVEY = """
import asyncio, sys
sys.path.insert(0, {examples!r})
import stdlib_survey as survey

if __name__ == "__main__":
    {prepare}
    files = sorted(survey.LIBRARY.glob("json/*.py")) + sorted(survey.LIBRARY.glob("a*.py"))
    files += [survey.Path({broken!r})]
    asyncio.run(survey.main([str(file) for file in files]))
"""


@pytest.mark.parametrize("prepare", ["", "survey.track = None"], ids=["rich", "plain"])
def test_survey_finds_the_same_in_both_modes(tmp_path: Path, prepare: str) -> None:
    """On a part of the library: equal totals, a report of what is in the files, a broken one counted apart."""
    library = Path(sysconfig.get_path("stdlib"))
    broken = next(library.glob("**/badsyntax_*.py"), None)
    if broken is None:
        pytest.skip("this Python came without the tests of its library, which hold a broken file")
    script = tmp_path / "small_survey.py"
    script.write_text(SMALL_SURVEY.format(examples=str(EXAMPLES), prepare=prepare or "pass", broken=str(broken)))
    done = run(script)
    assert done.returncode == 0, done.stderr
    assert "Both found the same." in done.stdout
    assert "raw_decode" not in done.stderr
    assert re.search(r"^ +1 more files that are no valid Python$", done.stdout, re.MULTILINE)
    assert re.search(r"^ +\d[\d,]* functions$", done.stdout, re.MULTILINE)
    assert "json/decoder.py" in done.stdout or "argparse.py" in done.stdout


# -- the HTTP service --


def test_the_http_service() -> None:
    """Requests are answered with what both handlers found, bad ones refused; SIGTERM ends it, workers too."""
    options = ("--app-dir", str(EXAMPLES), "--port", "0", "--no-access-log")
    with started(sys.executable, "-W", "error", "-m", "uvicorn", "asgi_service:app", *options) as process:
        address = line_of(process, r"running on (http://\S+)")[1]
        with httpx.Client(base_url=address, timeout=BOUND) as client:
            text = "to be or not to be"
            figures = {"words": 6, "most_common": "to", "compressed": len(zlib.compress(text.encode(), 9))}
            answer = client.post("/texts", json={"text": text})
            assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
            assert answer.json() == {"figures": figures, "stored": True}
            refused = client.post("/texts", json={"text": ""})
            assert refused.status_code == 400
            assert refused.json() == {"error": "Expected `str` of length >= 1 - at `$.text`"}
            counted = client.get("/health").json()
            assert counted["accepted"] == counted["finished"] == 1
        status, said = stop(process)
    assert "Application shutdown complete." in said
    assert "Traceback" not in said
    assert status in (0, -signal.SIGTERM)  # when it has shut down, uvicorn ends itself by the signal


# -- the MQTT listener --


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[int]:
    """Run mosquitto on a free port of this host."""
    program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.skip("there is no mosquitto: `apt-get install mosquitto`")
    port = free_port()
    (tmp_path / "mosquitto.conf").write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    with started(program, "-c", str(tmp_path / "mosquitto.conf")) as process:
        line_of(process, "mosquitto version .* running")
        yield port


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@contextmanager
def listener_of(topic: str, port: int) -> Iterator[tuple[Client, "Queue[tuple[str, Any]]"]]:
    """Connect to the broker; give a client, and what is published under a topic."""
    heard: Queue[tuple[str, Any]] = Queue()
    ready: Queue[None] = Queue()
    client = Client(CallbackAPIVersion.VERSION2)
    client.on_subscribe = lambda *_: ready.put(None)
    client.on_message = lambda _client, _data, message: heard.put((message.topic, message.payload.decode()))
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        client.subscribe(topic, qos=1)
        ready.get(timeout=BOUND)
        yield client, heard
    finally:
        client.disconnect()
        client.loop_stop()


def test_the_mqtt_listener(broker: int) -> None:
    """Messages are processed and published; bad ones are told; SIGTERM ends it, workers too."""
    with (
        started(sys.executable, "-W", "error", str(EXAMPLES / "mqtt_listener.py"), "127.0.0.1", str(broker)) as program,
        listener_of("vibration/#", broker) as (client, heard),
    ):
        line_of(program, "listening")
        for sensor, message in (("pump", "[0,1,0,-1,0,1,0,-1]"), ("fan", "[1,"), ("saw", '["x"]')):
            client.publish(f"sensors/{sensor}/samples", message, qos=1)
        said = dict(heard.get(timeout=BOUND) for _ in range(3))
        assert json.loads(said["vibration/pump"]) == {"strongest": 2, "amplitude": 1.0}
        assert said["vibration/fan/error"] == "Input data was truncated"
        assert "Expected `float`, got `str`" in said["vibration/saw/error"]
        assert stop(program) == (0, "event_collector: ending; signal again to stop now\n")


def test_the_mqtt_listener_waits_for_a_broker() -> None:
    """Without a broker it says so, tries again, and can be ended."""
    program = EXAMPLES / "mqtt_listener.py"
    with started(sys.executable, "-W", "error", str(program), "127.0.0.1", str(free_port())) as process:
        line_of(process, "no broker: .*Connection refused")
        assert stop(process)[0] == 0


# -- pictures --


def test_thumbnails(tmp_path: Path) -> None:
    """Each picture becomes a small one; a broken one is told, and the others are made."""
    pictures, thumbnails = tmp_path / "pictures", tmp_path / "thumbnails"
    pictures.mkdir()
    Image.new("RGB", (400, 100), "red").save(pictures / "red.png")
    Image.new("RGB", (50, 300), "blue").save(pictures / "blue.jpg")
    (pictures / "broken.gif").write_bytes((pictures / "red.png").read_bytes()[:20])
    done = run(EXAMPLES / "thumbnails.py", str(pictures), str(thumbnails))
    assert (done.returncode, done.stderr) == (1, "")
    *told, total = done.stdout.splitlines()
    assert sorted(told)[0::2] == ["blue.jpg: 21 x 128", "red.png: 128 x 32"]
    assert re.match(r"broken.gif: \w+Error: ", sorted(told)[1])
    assert total == "1 JPEG, 1 PNG, 1 failed"
    with Image.open(thumbnails / "red.png.jpg") as image:
        assert (image.format, image.size) == ("JPEG", (128, 32))
    assert not (thumbnails / "broken.gif.jpg").exists()


# -- pipelines --


def test_an_index_of_words(tmp_path: Path) -> None:
    """All words of all files are in the database; a file that cannot be read is told with its stage."""
    texts, index = tmp_path / "texts", tmp_path / "index.sqlite"
    texts.mkdir()
    (texts / "one.txt").write_text("Here and there, here and now")
    (texts / "two.txt").write_text("there " * 1000)
    (texts / "three.txt").write_bytes(b"\xff")
    done = run(EXAMPLES / "word_index.py", str(texts), str(index))
    assert (done.returncode, done.stderr) == (1, "")
    told, total = done.stdout.splitlines()
    assert told.startswith("read: UnicodeDecodeError: ")
    assert total == "1,003 words of 2 files"
    with closing(sqlite3.connect(index)) as db:
        assert sorted(db.execute("SELECT * FROM words")) == [
            ("here", "one.txt", 2),
            ("there", "one.txt", 1),
            ("there", "two.txt", 1000),
        ]


# -- batches --


def test_a_batch_in_a_script_without_a_guard(tmp_path: Path) -> None:
    """In threads it works; in worker processes it is refused with a sentence that names the guard."""
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    script = EXAMPLES / "batch_without_guard.py"
    done = run(script, "a", "b", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [f"{name} {hashlib.sha256(name.encode()).hexdigest()}" for name in "ab"]
    refused = run(script, "--processes", "a", "b", folder=tmp_path)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "collector 'digest' would start workers within a worker" in refused.stderr
    assert "must stand under `if __name__ == '__main__':`" in refused.stderr


def test_a_batch_in_a_notebook(tmp_path: Path) -> None:
    """Each cell prints what is saved below it: handlers of cells in threads, handlers of modules in processes."""
    notebook = EXAMPLES / "notebook.ipynb"
    done = run(NOTEBOOK_RUNNER, str(notebook), folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    cells = [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]
    saved = ["".join(text for output in cell["outputs"] for text in output["text"]) for cell in cells]
    assert json.loads(done.stdout) == saved
