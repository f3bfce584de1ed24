"""The shape of the project: scripts that run, modules that say what they are, small files, pages that exist."""

import ast
import os
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted([*(ROOT / "scripts").iterdir(), ROOT / ".ci" / "run"])
OURS = sorted((ROOT / "sozu_trio").rglob("*.py"))
PYTHON = sorted([*OURS, *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")])
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LONGEST = 400
"""Lines: beyond that a file holds two ideas."""
VERBS = {"bench", "check", "drill", "format", "run", "test", "venv"}


def name_of(file: Path) -> str:
    return str(file.relative_to(ROOT))


def test_every_verb_has_its_script() -> None:
    assert {script.name for script in SCRIPTS} >= VERBS


@pytest.mark.parametrize("script", SCRIPTS, ids=name_of)
def test_scripts_run(script: Path) -> None:
    assert os.access(script, os.X_OK)
    assert script.read_text().startswith("#!/usr/bin/env ")


@pytest.mark.parametrize("file", PYTHON, ids=name_of)
def test_modules_say_what_they_are(file: Path) -> None:
    text = file.read_text()
    assert not text or ast.get_docstring(ast.parse(text))


@pytest.mark.parametrize("file", OURS, ids=name_of)
def test_files_hold_one_idea(file: Path) -> None:
    assert len(file.read_text().splitlines()) <= LONGEST


def test_what_is_imported_is_declared() -> None:
    """Not only through another package, which may do without it one day."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = [declared["dependencies"], *declared["optional-dependencies"].values()]
    packages = {re.split(r"[<>=\[]", line)[0].replace("-", "_") for group in groups for line in group}
    imported = {name.partition(".")[0] for file in OURS for name in imported_by(ast.parse(file.read_text()))}
    assert imported - sys.stdlib_module_names - {"sozu_trio"} - packages == set()


def imported_by(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md", "LICENSE"])
def test_pages_exist(name: str) -> None:
    assert (ROOT / name).read_text().strip()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


@pytest.mark.parametrize("file", OURS, ids=name_of)
def test_no_group_of_a_pattern_is_possessive(file: Path) -> None:
    """CPython before 3.11.5 goes on behind what such a group has failed at (its issue 106052)."""
    without_classes = re.sub(r"\[[^]]*\]", "", file.read_text())
    assert re.findall(r"(?:\)[*+?]|\)\{[0-9,]+\})\+|\(\?>", without_classes) == []
