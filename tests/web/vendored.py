"""Scripts of others in the web page: `python -m tests.web.vendored` fetches them anew and checks their hashes.

Each comes from its package in the registry of npm. The integrity of the package is that of the registry, so a file that
was changed on its way, or here, is found. To take a new version, change it here and run with --new.
"""

import argparse
import base64
import hashlib
import io
import json
import sys
import tarfile
import urllib.request
from pathlib import Path
from typing import NamedTuple

STATIC = Path(__file__).parents[2] / "event_collector" / "web" / "static" / "vendor"
REGISTRY = "https://registry.npmjs.org"
LIMIT = 150_000
"""Bytes of what a browser loads of them."""


class Package(NamedTuple):
    """A package of npm, and the files of it that are taken, with the SHA-256 of each."""

    name: str
    version: str
    licence: str
    integrity: str
    files: dict[str, tuple[str, str]]
    """The path in the package, by the name here, with its hash."""

    @property
    def url(self) -> str:
        """Its address."""
        return f"{REGISTRY}/{self.name}/-/{self.name}-{self.version}.tgz"


AXE = Path(sys.prefix) / "share" / "axe-core" / "axe.min.js"
"""What the tests of accessibility use; it is not part of the page."""
AXE_PACKAGE = Package(
    "axe-core",
    "4.14.1",
    "MPL-2.0",
    "sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
    {AXE.name: ("axe.min.js", "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c")},
)

PACKAGES: tuple[Package, ...] = tuple(
    Package(
        one["name"],
        one["version"],
        one["licence"],
        one["integrity"],
        {name: (path, digest) for name, (path, digest) in one["files"].items()},
    )
    for one in json.loads((STATIC / "vendor.json").read_text())
)


def digest(content: bytes) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(content).hexdigest()


def fetch(package: Package, *, is_new: bool) -> dict[str, bytes]:
    """Return the files of a package from the registry; a ValueError says what does not fit."""
    with urllib.request.urlopen(package.url, timeout=60) as answer:
        archive = answer.read()
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(archive).digest()).decode()
    if not is_new and integrity != package.integrity:
        raise ValueError(f"{package.url} has the integrity {integrity}, not {package.integrity}")
    found = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as packed:
        for name, (path, wanted) in package.files.items():
            member = packed.extractfile(f"package/{path}")
            if member is None:
                raise ValueError(f"{package.url} has no file {path}")
            found[name] = member.read()
            if not is_new and digest(found[name]) != wanted:
                raise ValueError(f"{path} in {package.url} has the hash {digest(found[name])}, not {wanted}")
    print(f"{package.name} {package.version}: {integrity}")
    return found


def main() -> None:
    """Write the files, and with --new their hashes too."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--new", action="store_true", help="take versions that vendor.json has no hashes of")
    parser.add_argument("--axe", action="store_true", help="fetch only axe-core, for tests, into this environment")
    options = parser.parse_args()
    if options.axe:
        AXE.parent.mkdir(parents=True, exist_ok=True)
        AXE.write_bytes(fetch(AXE_PACKAGE, is_new=False)[AXE.name])
        return
    table = json.loads((STATIC / "vendor.json").read_text())
    for row, package in zip(table, PACKAGES, strict=True):
        for name, content in fetch(package, is_new=options.new).items():
            (STATIC / name).write_bytes(content)
            row["files"][name][1] = digest(content)
    if options.new:
        (STATIC / "vendor.json").write_text(json.dumps(table, indent=2) + "\n")


if __name__ == "__main__":
    main()
