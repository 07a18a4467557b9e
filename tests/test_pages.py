"""What README and the pages in docs/ say: links lead somewhere, and the commands they show exist with their options."""

import re
import shlex
from pathlib import Path

import click
import pytest

from fxprune.cli import main

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "benchmarks").glob("*.md")])
BLOCK = re.compile(r"^```\n(.*?)^```$", re.M | re.S)
COMMAND = re.compile(r"^fxprune [a-z].*$", re.M)
SCRIPT = re.compile(r"python (benchmarks/\w+\.py)([^`\n]*)")
LINK = re.compile(r"\]\((?!https?:)([^)\s]*)\)")


def anchors(page: Path) -> set[str]:
    """Headings as the anchors a Markdown viewer makes of them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.M)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def named(parsed: list[str]) -> set[str]:
    """Options among words, as they are written."""
    return {word.partition("=")[0] for word in parsed if word.startswith("--")}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for link in LINK.findall(page.read_text()):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_commands_shown_exist_with_their_options():
    shown = [line for page in PAGES for block in BLOCK.findall(page.read_text()) for line in COMMAND.findall(block)]
    assert len(shown) > 20
    for line in shown:
        _, name, *words = shlex.split(line, comments=True)
        command = main.get_command(click.Context(main), name)
        assert command is not None, line
        known = {text for option in command.params for text in (*option.opts, *option.secondary_opts)}
        assert named(words) <= known, line


def test_the_scripts_shown_exist_with_their_options():
    shown = [found for page in PAGES for found in SCRIPT.findall(page.read_text())]
    assert len(shown) > 20
    for script, rest in shown:
        source = (ROOT / script).read_text()
        for option in named(rest.split()):
            assert f'"{option}' in source or f"/{option}" in source, f"{script} {option}"
