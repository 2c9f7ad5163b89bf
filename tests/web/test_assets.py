"""Scripts of others: as their makers published them, with their licences, and small."""

from pathlib import Path

from tests.web.vendored import LIMIT, PACKAGES, STATIC, digest

WEB = STATIC.parents[1]


def test_the_scripts_of_others_are_those_that_were_checked() -> None:
    """Each file has the hash in vendor.json, none is missing, none is more, and all are less than 150 KB."""
    wanted = {name: wanted for package in PACKAGES for name, (_, wanted) in package.files.items()}
    found = {path.name: digest(path.read_bytes()) for path in STATIC.iterdir() if path.name != "vendor.json"}
    assert found == wanted
    assert sum(path.stat().st_size for path in STATIC.glob("*.min.*")) < LIMIT


def test_each_has_its_licence() -> None:
    """The licence of each package is beside its files, and allows this."""
    assert {package.name: package.licence for package in PACKAGES} == {"htmx.org": "0BSD", "uplot": "MIT"}
    for package in PACKAGES:
        texts = [(STATIC / name).read_text() for name in package.files if name.endswith("LICENSE.txt")]
        assert len(texts) == 1
        assert "permission" in texts[0].lower()


def test_no_page_asks_another_host() -> None:
    """Templates, styles and scripts of the page name no address of another host."""
    own = [path for path in WEB.rglob("*") if path.suffix in (".html", ".css", ".js") and path.parent != STATIC]
    assert len(own) > 20
    assert [str(path) for path in own if "http:" in path.read_text() or "https:" in Path(path).read_text()] == []
