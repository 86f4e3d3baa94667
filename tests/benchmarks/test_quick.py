"""`make bench` runs every benchmark with --quick: each must know it."""

from __future__ import annotations

import ast
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

BENCHMARKS = sorted((Path(__file__).resolve().parents[2] / "benchmarks").glob("*.py"))


def options(tree: ast.AST) -> set[str]:
    """First arguments of all calls of add_argument."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    first = [call.args[0] for call in calls if call.func.attr == "add_argument" and call.args]  # type: ignore[attr-defined]
    return {str(argument.value) for argument in first if isinstance(argument, ast.Constant)}


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_every_benchmark_knows_quick(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    if "main" not in functions:
        return  # a helper of another benchmark: running it does nothing
    assert "--quick" in options(tree)
    positional = [name for name in options(tree) if not name.startswith("-")]
    assert all('nargs="?"' in line for line in path.read_text().splitlines() for name in positional
               if f'add_argument("{name}"' in line)  # fmt: skip


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_every_benchmark_finds_what_it_imports_of_us(path: Path) -> None:
    """No test runs most of them: a name that moved would be noticed by the next who measures."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in ("geocorrect", "simulation"):
            module = import_module(str(node.module))
            for alias in node.names:
                assert hasattr(module, alias.name) or find_spec(f"{node.module}.{alias.name}"), alias.name
