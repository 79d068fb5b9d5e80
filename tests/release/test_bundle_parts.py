"""What is built into lanpost.pyz for `lanpost bundle`: SBOM, licences, documentation."""

from __future__ import annotations

import json
import zipfile
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath
from posixpath import normpath
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from lanpost.content.archive import BUNDLE, SBOM
from lanpost.store.archive_file import open_archive, read_member


@pytest.fixture(scope="module")
def sbom(pyz: Path) -> Any:
    return json.loads(read_member(pyz, BUNDLE + SBOM))


def test_the_sbom_is_valid_by_the_schema_of_cyclonedx(pyz: Path) -> None:
    text = read_member(pyz, BUNDLE + SBOM).decode()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    broken = text.replace('"type": "library"', '"type": "no such type"', 1)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(broken) is not None


def test_the_sbom_names_each_library_inside_with_purl_licence_and_hashes(pyz: Path, sbom: Any) -> None:
    libraries = {library["name"]: library for library in sbom["components"]}
    with zipfile.ZipFile(pyz) as archive:
        inside = {name.split("-")[0] for name in archive.namelist() if name.endswith(".dist-info/METADATA")}
    inside |= {wheel.name for wheel in open_archive(pyz).wheels}
    assert {name.replace("_", "-") for name in inside} - {"lanpost"} == set(libraries)
    for library in libraries.values():
        purl = PackageURL.from_string(library["purl"])
        assert (purl.type, purl.name, purl.version) == ("pypi", library["name"], library["version"])
        assert library["licenses"]
        assert any("hashes" in part for part in library["components"])


def test_the_sbom_tells_of_what_is_linked_into_native_code(sbom: Any) -> None:
    inside = {
        library["name"]: {part["name"] for part in library["components"] if part["type"] == "library"}
        for library in sbom["components"]
    }
    assert "openssl" in inside["cryptography"]
    assert "libuv" in inside["uvloop"]
    assert "libffi" in inside["cffi"]


def test_the_hashes_in_the_sbom_are_those_of_the_wheels_inside(pyz: Path, sbom: Any) -> None:
    told = {
        part["name"]: part["hashes"][0]["content"]
        for library in sbom["components"]
        for part in library["components"]
        if part["type"] == "file"
    }
    assert {wheel.file: wheel.sha256 for wheel in open_archive(pyz).wheels}.items() <= told.items()


def test_each_library_comes_with_the_text_of_its_licence(pyz: Path, sbom: Any) -> None:
    with zipfile.ZipFile(pyz) as archive:
        folders = {
            PurePosixPath(name).parent.name for name in archive.namelist() if name.startswith("bundle/licences")
        }
    assert folders == {f"{each['name']}-{each['version']}" for each in sbom["components"]} | {"lanpost"}


class Page(HTMLParser):
    """Where a page leads, where it can be led to, and what it would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "a":
            self.links.append(found["href"] or "")
        elif found.get("src") or tag in ("script", "link", "iframe"):
            self.loads.append(tag)
        if found.get("id"):
            self.anchors.add(found["id"] or "")


def test_each_link_of_the_documentation_leads_somewhere_and_nothing_is_loaded(pyz: Path) -> None:
    with zipfile.ZipFile(pyz) as archive:
        root = f"{BUNDLE}documentation/"
        files = {name.removeprefix(root): name for name in archive.namelist() if name.startswith(root)}
        pages = {
            name: Page(archive.read(member).decode()) for name, member in files.items() if name.endswith(".html")
        }
    assert "index.html" in pages
    assert "docs/protocols.html" in pages
    folders = {str(parent) for name in files for parent in PurePosixPath(name).parents}
    for name, page in pages.items():
        assert not page.loads, name
        for link in page.links:
            path, _, anchor = link.partition("#")
            if "://" in path:
                continue
            target = normpath(str(PurePosixPath(name).parent / path)) if path else name
            assert target in files or target in folders, (name, link)
            if anchor:
                assert anchor in pages[target].anchors, (name, link)
