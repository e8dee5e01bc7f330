"""The rules of docs/architecture.md, checked on the source itself."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

SOURCE = ROOT / "src" / "leyden"
FILES = sorted(SOURCE.rglob("*.py"))
MAX_LINES_OF_A_FUNCTION = 40


def layers() -> list[str]:
    """The layers from the lowest to the highest, as docs/architecture.md lists them."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    found = re.search(r"^errors < .*$", text, re.MULTILINE)
    assert found, "docs/architecture.md must have a line: errors < seeding < …"
    return [name.strip() for name in found[0].split("<")]


def layer(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """The modules of Leyden that a file imports, and whether only for type checking."""
    tree = ast.parse(path.read_text())
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("leyden."):
            yield node.module, id(node) in typing_only
        elif isinstance(node, ast.Import):
            for name in node.names:
                if name.name.startswith("leyden."):
                    yield name.name, id(node) in typing_only


def test_every_layer_is_listed() -> None:
    assert sorted(layers()) == sorted({layer(path) for path in FILES} - {"__init__"})


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_file_imports_only_from_its_own_layer_and_lower_ones(path: Path) -> None:
    order = layers()
    if layer(path) == "__init__":
        return
    for module, typing_only in imports(path):
        imported = module.split(".")[1]
        assert typing_only or order.index(imported) <= order.index(layer(path)), f"{path} imports {module}"


def test_no_import_cycle_within_a_layer() -> None:
    graph = {
        ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts): {
            module for module, typing_only in imports(path) if not typing_only
        }
        for path in FILES
    }

    def visit(module: str, chain: tuple[str, ...]) -> None:
        assert module not in chain, f"cycle: {' → '.join((*chain, module))}"
        for other in graph.get(module, ()):
            visit(other, (*chain, module))

    for module in graph:
        visit(module, ())


def test_at_most_sixteen_files_and_folders() -> None:
    names = {path.name for path in SOURCE.iterdir()} - {"__init__.py", "__pycache__"}
    assert len(names) <= 16, sorted(names)


def test_no_two_files_have_the_same_name() -> None:
    counts = Counter(path.name for path in FILES if path.name != "__init__.py")
    assert [name for name, count in counts.items() if count > 1] == []


def test_no_function_is_longer_than_a_screen() -> None:
    long = []
    for path in [*FILES, *sorted((ROOT / "scripts").rglob("*.py"))]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.end_lineno:
                length = node.end_lineno - node.lineno + 1
                if length > MAX_LINES_OF_A_FUNCTION:
                    long.append(f"{path.name}:{node.name} ({length})")
    assert long == []


# Private names of other packages outside training/fast_loop.py, each with its reason.
PRIVATE = {
    "_trial_id": "Optuna has no public way to take over a trial whose worker died",
}
OWN_ATTRIBUTES = re.compile(r"(?:self|cls)\._\w+")


def private_names(path: Path) -> set[str]:
    """Attributes and imports with a leading underscore that are not this file's own."""
    text = path.read_text()
    tree = ast.parse(text)
    own = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    assignments = [node for node in ast.walk(tree) if isinstance(node, ast.Assign)]
    own |= {target.id for node in assignments for target in node.targets if isinstance(target, ast.Name)}
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.module.startswith("leyden"):
            found |= {name.name for name in node.names if name.name.startswith("_")}
            found |= {part for part in node.module.split(".") if part.startswith("_") and part != "__future__"}
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            base = node.value
            if not (isinstance(base, ast.Name) and base.id in ("self", "cls")) and node.attr not in own:
                found.add(node.attr)
    return found


def test_private_names_of_other_packages_are_in_one_file() -> None:
    found: dict[str, list[str]] = {}
    for path in [*FILES, *sorted((ROOT / "src" / "hydra_plugins").rglob("*.py"))]:
        if path.name != "fast_loop.py":
            for name in private_names(path) - {"_exit"}:  # os._exit is public
                found.setdefault(name, []).append(path.name)
    assert set(found) <= set(PRIVATE), found
    assert len(found) <= 3
