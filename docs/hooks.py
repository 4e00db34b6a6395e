"""What the site has besides the pages of `docs/`: pages made of files that stand elsewhere, and files they link to.

MkDocs calls these functions (`hooks` in mkdocs.yml). Links are written as they lead in the checkout, so that pages can
be read there, too; here they become those of the site.
"""

import posixpath
import re
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from typer.cli import get_docs_for_click
from typer.main import get_command

from tada.base.files import PROJECT
from tada.cli import app

PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changes.md",
    "CONTRIBUTING.md": "contributing.md",
    "config/README.md": "reference/settings.md",
}
"""File of the checkout -> page of the site."""

_LINK = re.compile(r"(?<=\]\()([^)#:\s]+)(?=[)#])")
"""The target of a link in Markdown, without the place in it; none of another site."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """A page of `docs/` that the navigation does not name stands among the explanations."""
    named = str(config.nav)
    [explanation] = (one["Explanation"] for one in config.nav or [] if "Explanation" in one)
    explanation += [page.name for page in sorted((PROJECT / "docs").glob("*.md")) if f"'{page.name}'" not in named]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of `PAGES`, that of the commands, and what pages link to and is no page."""
    for source, place in PAGES.items():
        head = "---\nhide: [navigation]\n---\n\n" if place == "index.md" else ""
        files.append(File.generated(config, place, content=head + (PROJECT / source).read_text(encoding="utf-8")))
    files.append(File.generated(config, "reference/commands.md", content=commands()))
    for page in files.documentation_pages():
        for target in _LINK.findall(page.content_string):
            source = _source(page.src_uri, target)
            place = _place(source)
            if place not in files.src_uris and (PROJECT / source).is_file():
                files.append(File.generated(config, place, abs_src_path=str(PROJECT / source)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """The page with the site's links."""
    uri = page.file.src_uri
    folder = posixpath.dirname(uri)
    return _LINK.sub(lambda link: posixpath.relpath(_place(_source(uri, link[0])), folder or "."), markdown)


def commands() -> str:
    """A chapter for each command of `tada`, made of its help texts."""
    group = get_command(app)
    context = group.make_context("tada", [], resilient_parsing=True)
    chapters = [
        get_docs_for_click(obj=command, ctx=context, indent=1, name=name, call_prefix="tada")
        for name, command in group.commands.items()  # type: ignore[attr-defined]
    ]
    return "\n".join(["# Commands", "", *chapters]).replace("```console\n$ ", "```text\n")


def _source(uri: str, target: str) -> str:
    """The file of the checkout that a page links to; a page that is made here links to other pages."""
    own = {place: source for source, place in PAGES.items()}.get(uri, f"docs/{uri}")
    return posixpath.normpath(posixpath.join(posixpath.dirname(own), target))


def _place(source: str) -> str:
    """Where a file of the checkout stands on the site."""
    if source.startswith("docs/"):
        return source.removeprefix("docs/")
    return PAGES.get(source, f"files/{source}")
