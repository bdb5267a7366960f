"""Links of the documentation lead somewhere, its commands and keys exist, its drawings ask nobody else."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from inglenook.cli.catalog import GROUPS, SINGLE
from inglenook.cli.execute import parse
from inglenook.cli.main import EVERYWHERE, take_flags
from inglenook.cli.settings import KEYS

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)", re.DOTALL)
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"^(?:\$|[A-Z_]+=\S+)*\s*(?:\S*/)?inglenook (?P<words>.+)$")
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]


def anchors(page: Path) -> set[str]:
    """The names of the headings of a page, as they are linked to."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def commands(page: Path) -> Iterator[str]:
    """The words after `inglenook` in the shell blocks of a page, one command line each."""
    for kind, text in BLOCK.findall(page.read_text()):
        if kind != "sh":
            continue
        for line in text.replace("\\\n", " ").splitlines():
            inner = re.search(r"\$\((inglenook [^)]+)\)", line)
            if found := COMMAND.match(inner[1] if inner else line.strip()):
                yield found["words"]


ALL_COMMANDS = sorted({line for page in PAGES for line in commands(page)})


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_link_inside_leads_to_a_page_and_a_heading_that_exist(page: Path) -> None:
    broken: list[str] = []
    for target in LINK.findall(page.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        if not there.exists() or (anchor and anchor not in anchors(there)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("line", ALL_COMMANDS)
def test_every_command_shown_is_one_that_is_understood(line: str) -> None:
    words = shlex.split(line.partition(" | ")[0].rstrip("&").strip(), comments=True)
    own = frozenset({*KEYS, "config"}) if words[0] in ("serve", "init", "demo") else EVERYWHERE
    _, rest = take_flags(words, own)
    command, _, _ = parse(rest)
    assert callable(command)


def test_the_operator_guide_shows_every_command_for_operators() -> None:
    shown = {line.split()[0] for line in commands(ROOT / "docs/operator.md")}
    told = set(re.findall(r"`inglenook ([a-z]+)", (ROOT / "docs/operator.md").read_text()))
    left_out = {"settings", "demo", "completion", "version"}
    assert set(GROUPS) | set(SINGLE) == shown | told | left_out


def test_the_operator_guide_tells_every_key_of_the_configuration() -> None:
    text = (ROOT / "docs/operator.md").read_text()
    assert [key for key in KEYS if f"`{key}`" not in text] == []


@pytest.mark.parametrize("drawing", sorted((ROOT / "docs/images").glob("*.svg")), ids=lambda path: path.name)
def test_a_drawing_is_well_formed_and_loads_nothing_from_elsewhere(drawing: Path) -> None:
    text = drawing.read_text()
    ElementTree.fromstring(text)
    assert re.findall(r"(?:href|src)\s*=\s*[\"']https?:|url\(\s*[\"']?https?:|@import", text) == []


def test_every_layer_is_in_the_list_of_the_architecture() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    block = re.search(r"^layers = \[(.*?)\]", project, re.DOTALL | re.MULTILINE)
    assert block is not None
    layers = re.findall(r'"([^"]+)"', block[1])
    told = re.findall(r"^\| `(\w+)/?` \|", (ROOT / "docs/architecture.md").read_text(), re.MULTILINE)
    assert told == [name for layer in reversed(layers) for name in re.split(r"[\s|:]+", layer)]


def test_every_decision_has_its_number_once_and_says_what_was_rejected() -> None:
    pages = sorted((ROOT / "docs/decisions").glob("*.md"))
    numbers = [page.name[:4] for page in pages]
    assert len(numbers) == len(set(numbers))
    for page in pages:
        text = page.read_text()
        assert text.startswith(f"# {page.name[:4]}"), page.name
        assert "**Context.**" in text, page.name
        assert "**Choice.**" in text, page.name
        assert "**Rejected.**" in text, page.name
