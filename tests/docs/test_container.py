"""The recipe for containers: its service runs, with the probes of its files, and ends in time at SIGTERM."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "docs" / "examples" / "container"
BOUND = 60.0


def manifest() -> dict[str, Any]:
    """Return the specification of the pods."""
    documents = list(yaml.safe_load_all((RECIPE / "kubernetes.yaml").read_text()))
    assert [document["kind"] for document in documents] == ["Service", "StatefulSet"]
    return documents[1]["spec"]["template"]["spec"]


def instructions(name: str) -> list[str]:
    """Return what the Dockerfile says after an instruction, each as one line."""
    lines = re.sub(r" *\\\n *", " ", (RECIPE / "Dockerfile").read_text())
    return re.findall(rf"^{name} (.*)$", lines, re.MULTILINE)


def probes() -> dict[str, list[str]]:
    """Return the command of each probe of both files."""
    (container,) = manifest()["containers"]
    found = {name: container[name]["exec"]["command"] for name in container if name.endswith("Probe")}
    (check,) = instructions("HEALTHCHECK")
    return found | {"HEALTHCHECK": json.loads(check.partition(" CMD ")[2])}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Return the environment of a container, with its programs, and a port that is free."""
    run = tmp_path / "run"
    run.mkdir()
    run.chmod(0o777)  # as an emptyDir has it
    with socket.create_server(("localhost", 0)) as free:
        port = free.getsockname()[1]
    return {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "EVENT_COLLECTOR_MONITOR": str(run / "queue.sock"),
        "ORDERS_JOURNAL": str(tmp_path / "journal.db"),
        "PORT": str(port),
    }


@pytest.fixture
def service(environment: dict[str, str]) -> Iterator["subprocess.Popen[str]"]:
    (command,) = instructions("CMD")
    started = subprocess.Popen(
        json.loads(command), cwd=RECIPE, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    yield started
    started.kill()
    started.communicate()


def ask(command: list[str], environment: dict[str, str]) -> tuple[int, dict[str, Any]]:
    """Run a probe; return its exit status and what it said."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=BOUND, check=False)
    assert done.returncode in (0, 1), done.stderr  # 2: no such option
    return done.returncode, json.loads(done.stdout)


def test_the_service_answers_is_probed_and_ends_in_time(
    service: "subprocess.Popen[str]", environment: dict[str, str]
) -> None:
    """Every probe passes once it runs; at SIGTERM what was accepted is answered, and the service ends with status 0."""
    commands, until = probes(), time.monotonic() + BOUND
    assert set(commands) == {"startupProbe", "readinessProbe", "livenessProbe", "HEALTHCHECK"}
    socket_file = Path(environment["EVENT_COLLECTOR_MONITOR"])
    while not socket_file.exists() or ask(commands["startupProbe"], environment)[0]:
        assert time.monotonic() < until, "the service does not come up"
        assert service.poll() is None, service.communicate()[0]
        time.sleep(0.05)
    for command in commands.values():
        assert ask(command, environment)[0] == 0, command
    with socket.create_connection(("localhost", int(environment["PORT"])), timeout=BOUND) as connection:
        lines = connection.makefile("rw")
        for order, answer in [
            ('{"number": 91}', {"ok": 7}),
            ("{", "not JSON"),
            ('{"number": "x"}', "does not fit Order"),
        ]:
            print(order, file=lines, flush=True)
            said = json.loads(lines.readline())
            assert said == answer if isinstance(answer, dict) else answer in said["error"]
        print('{"number": 10000000000037}', file=lines, flush=True)
        while not ask(commands["readinessProbe"], environment)[1]["events"]["accepted"] >= 3:
            assert time.monotonic() < until
        service.send_signal(signal.SIGTERM)
        assert json.loads(lines.readline()) == {"ok": 10000000000037}
    printed = service.communicate(timeout=BOUND)[0]
    assert service.returncode == 0, printed
    assert ask(commands["livenessProbe"], environment)[0] == 1


def test_the_times_of_the_recipe_fit() -> None:
    """The grace period has room for preStop, the drain and the end; a probe's own bound is within that of the probe."""
    source = (RECIPE / "service.py").read_text()
    (drain,) = re.findall(r"^DRAIN = (.*)$", source, re.MULTILINE)
    pod = manifest()
    (container,) = pod["containers"]
    grace, before = (
        pod["terminationGracePeriodSeconds"],
        float(container["lifecycle"]["preStop"]["exec"]["command"][1]),
    )
    assert grace >= before + float(drain) + 5
    for probe in (container[name] for name in container if name.endswith("Probe")):
        command = probe["exec"]["command"]
        assert float(command[command.index("--timeout") + 1]) < probe["timeoutSeconds"] <= probe["periodSeconds"]
    assert f"{grace} " in (ROOT / "docs/container.md").read_text()


def test_the_files_of_the_recipe_agree() -> None:
    """User, folders, variables and port are the same in Dockerfile and manifest; what is copied is there."""
    pod = manifest()
    (container,) = pod["containers"]
    text = (RECIPE / "Dockerfile").read_text()
    assert instructions("USER") == [str(pod["securityContext"]["runAsUser"])]
    assert f"--uid {pod['securityContext']['runAsUser']} " in text
    assert instructions("EXPOSE") == [str(container["ports"][0]["containerPort"])]
    for variable in container["env"]:
        assert f"{variable['name']}={variable['value']}" in shlex.split(instructions("ENV")[0])
        folder = os.path.dirname(variable["value"])
        assert folder in {mount["mountPath"] for mount in container["volumeMounts"]}
        assert folder in text.partition("install -d")[2]
    for copied in instructions("COPY"):
        if not copied.startswith("--from="):
            assert all((ROOT / name).exists() for name in copied.split()[:-1]), copied
    first = instructions("FROM")
    assert first[0].removesuffix(" AS build") == first[1]
