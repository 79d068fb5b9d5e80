"""The documentation as HTML: each Markdown page of this checkout, and the files beside them that they lead to.

Pages keep their places, so that links hold; each is one file with nothing to load, for a browser without a network.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from pathlib import Path, PurePosixPath
from posixpath import normpath

from markdown_it import MarkdownIt
from markdown_it.token import Token

PAGES = ("*.md", "docs/**/*.md", "deploy/**/*.md", "bench/*.md", "fuzz/*.md")
BESIDE = ("LICENSE", "deploy/**/*", "schemas/*")
START = "README.md"  # becomes index.html too
STYLE = """\
body{max-width:52rem;margin:2rem auto;padding:0 1rem;font:16px/1.5 sans-serif;color:#222;background:#fff}
code,pre{font:14px/1.4 monospace;background:#f4f4f4}pre{padding:.8rem;overflow:auto}
table{border-collapse:collapse}td,th{border:1px solid #ccc;padding:.2rem .5rem;text-align:left;vertical-align:top}
a{color:#0645ad}nav{font-size:14px}
@media (prefers-color-scheme:dark){body{color:#ddd;background:#1b1b1b}code,pre{background:#2a2a2a}a{color:#8ab4f8}}
"""
_PAGE = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>{title}</title><style>{style}</style></head><body>
<nav><a href="{up}index.html">lanpost</a></nav>
{body}</body></html>
"""


def documentation(root: Path) -> dict[str, bytes]:
    """Files by name, as `docs/protocols.html`."""
    pages = {path.relative_to(root).as_posix(): path for pattern in PAGES for path in root.glob(pattern)}
    made = {}
    for pattern in BESIDE:
        for path in root.glob(pattern):
            if path.is_file() and path.suffix != ".md":
                made[path.relative_to(root).as_posix()] = path.read_bytes()
    known = {*made, *pages}
    known |= {parent.as_posix() for name in known for parent in PurePosixPath(name).parents}
    for name, path in pages.items():
        made[_as_html(name)] = _page(name, path.read_text("utf-8"), known)
    made["index.html"] = made[_as_html(START)]
    return made


def slug(title: str) -> str:
    """The anchor of a heading, as the pages' own links have it."""
    return re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")


def _page(name: str, text: str, known: AbstractSet[str]) -> bytes:
    """`known`: what a link may lead to; others, as to a source file, become plain text."""
    markdown = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    tokens = markdown.parse(text)
    _name_headings(tokens)
    title = "lanpost"
    for index, token in enumerate(tokens):
        if token.type == "heading_open":
            title = tokens[index + 1].content.replace("`", "")
            break
    for token in tokens:
        if token.children:
            token.children = list(_with_links_that_lead(token.children, PurePosixPath(name).parent, known))
    body = markdown.renderer.render(tokens, markdown.options, {})
    up = "../" * (len(PurePosixPath(name).parts) - 1)
    return _PAGE.format(title=html.escape(title), style=STYLE, up=up, body=body).encode()


def _name_headings(tokens: list[Token]) -> None:
    seen: Counter[str] = Counter()
    for index, token in enumerate(tokens):
        if token.type == "heading_open":
            anchor = slug("".join(child.content for child in tokens[index + 1].children or ()))
            token.attrSet("id", f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor)
            seen[anchor] += 1


def _with_links_that_lead(
    tokens: Iterable[Token], folder: PurePosixPath, known: AbstractSet[str]
) -> Iterator[Token]:
    leads = True
    for token in tokens:
        if token.type == "link_open":
            path, mark, anchor = str(token.attrGet("href") or "").partition("#")
            leads = not path or "://" in path or normpath((folder / path).as_posix()) in known
            if path.endswith(".md") and "://" not in path:
                token.attrSet("href", _as_html(path) + mark + anchor)
        if leads or token.type not in ("link_open", "link_close"):
            yield token


def _as_html(page: str) -> str:
    return page.removesuffix(".md") + ".html"
