"""The reference: pages made from the program itself, so that they cannot say anything else."""

from __future__ import annotations

import ast
import inspect
import json
import math
import tempfile
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from functools import cache
from itertools import pairwise
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import typer.main

import geocorrect
from geocorrect.catalog import Catalog
from geocorrect.catalog.schema import metadata
from geocorrect.catalog.views.views import views_of
from geocorrect.cli.app import app
from geocorrect.config import ENV_PREFIX, Settings
from geocorrect.errors import ExitCode, Reason


@cache
def reference_pages() -> dict[str, str]:
    """Markdown of every page by its place in the site."""
    return {
        **dict(python_pages()),
        "reference/cli.md": cli_page(),
        "reference/configuration.md": configuration_page(),
        "reference/reasons.md": reasons_page(),
        "reference/sql.md": sql_page(),
    }


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown; line breaks and bars inside cells are escaped."""
    lines = [[" ".join(cell.split()).replace("|", "\\|") for cell in row] for row in rows]
    head = list(head)
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *lines]) + "\n"


def code(text: str) -> str:
    """As code, which nothing would not be."""
    return f"`{text}`" if text else ""


# --- Python ---


def python_pages() -> Iterator[tuple[str, str]]:
    """A page for every public name, and one that lists them."""
    rows = []
    for name in sorted(geocorrect.__all__, key=str.lower):
        value = getattr(geocorrect, name)
        first = inspect.cleandoc(value.__doc__ or "").partition("\n")[0]
        rows.append((f"[`{name}`]({name}.md)", first))
    example = "```python\nfrom geocorrect import Localizer, Catalog\n```\n"
    listed = table(["name", "what it is"], rows)
    said = "Everything that `from geocorrect import …` offers; names are loaded when they are first used."
    yield "reference/python/index.md", f"# Python\n\n{said}\n\n{example}\n{listed}"
    for name in sorted(geocorrect.__all__, key=str.lower):
        value = getattr(geocorrect, name)
        yield f"reference/python/{name}.md", f"---\ntitle: {name}\n---\n\n::: {value.__module__}.{name}\n"


# --- command line ---


def cli_page() -> str:
    """Every command with its arguments and options, from Typer."""
    root = typer.main.get_command(app)
    context = root.make_context("geocorrect", [], resilient_parsing=True)
    intro = "Exit codes: [reasons and exit codes](reasons.md). Every command prints this with `--help`.\n"
    return "# Command line\n\n" + intro + "\n" + "\n".join(_commands(root, context))


def _commands(command: Any, context: Any) -> Iterator[str]:
    path = context.command_path
    yield f"## {path} {{: #{path.replace(' ', '-')} }}\n\n{inspect.cleandoc(command.help or '')}\n"
    yield f"```text\n{path} {' '.join(command.collect_usage_pieces(context))}\n```\n"
    shown = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
    records = [parameter.get_help_record(context) for parameter in shown if parameter.name != "help"]
    if records:
        yield table(["argument or option", "meaning"], [(code(names), said) for names, said in records])
    for name in getattr(command, "commands", {}):
        below = command.commands[name]
        if not below.hidden:
            yield from _commands(below, type(context)(below, info_name=name, parent=context))


# --- configuration ---


def configuration_page() -> str:
    """Every setting, from the frozen dataclasses that hold them."""
    settings = Settings()
    parts = [
        "# Configuration\n",
        "`geocorrect.toml`, every key optional; unknown keys are errors. The environment goes before the file: "
        f"`{ENV_PREFIX}BATCH__WORKERS=4` is `workers = 4` in `[batch]`. `geocorrect init` writes a file to start from, "
        "`geocorrect config show` prints every value and where it comes from. Secrets are no settings: "
        "`MAPILLARY_TOKEN`, `PGPASSWORD`.\n",
    ]
    for name in Settings.model_fields:
        parts += _section(name, getattr(settings, name), settings.models)
    return "\n".join(parts)


def _section(path: str, options: Any, models: Any) -> Iterator[str]:
    if options == models and path != "models":
        yield f"## [{path}] {{: #{path} }}\n\nThe keys of [[models]](#models).\n"
        return
    kind, nested, rows = type(options), [], []
    hints, documented = get_type_hints(kind), _attribute_docs(kind)
    for field in fields(options):
        value = getattr(options, field.name)
        if is_dataclass(value):
            nested.append((f"{path}.{field.name}", value))
        else:
            rows.append(
                (code(field.name), code(_type(hints[field.name])), code(_toml(value)), documented.get(field.name, ""))
            )
    if rows or "." not in path:
        yield f"## [{path}] {{: #{path} }}\n\n{inspect.cleandoc(kind.__doc__ or '')}\n"
    if rows:
        yield table(["key", "type", "default", "meaning"], rows)
    for deeper, value in nested:
        yield from _section(deeper, value, models)


def _attribute_docs(kind: type) -> dict[str, str]:
    """The text under each attribute of a dataclass and of those that it extends."""
    found: dict[str, str] = {}
    for owner in reversed([base for base in kind.__mro__ if is_dataclass(base)]):
        (body,) = (node.body for node in ast.parse(textwrap.dedent(inspect.getsource(owner))).body)  # type: ignore[attr-defined]
        for node, after in pairwise(body):
            if (
                isinstance(node, ast.AnnAssign)
                and isinstance(after, ast.Expr)
                and isinstance(after.value, ast.Constant)
            ):
                found[node.target.id] = str(after.value.value)  # type: ignore[union-attr]
    return found


def _type(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return " | ".join(json.dumps(value) for value in get_args(kind))
    if isinstance(kind, UnionType) or get_origin(kind) is Union:
        return " | ".join(_type(one) for one in get_args(kind))
    if kind is NoneType:
        return "none"
    inner = get_args(kind)
    if inner:
        return f"{kind.__origin__.__name__}[{', '.join('…' if one is Ellipsis else _type(one) for one in inner)}]"
    return {"str": "text", "Path": "path"}.get(kind.__name__, kind.__name__)


def _toml(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, tuple | list | frozenset):
        return f"[{', '.join(_toml(one) for one in value)}]"
    return json.dumps(value, default=str, ensure_ascii=False)


# --- reasons, exit codes ---


def reasons_page() -> str:
    """The closed lists of `errors`."""
    reasons = table(["reason", "meaning"], [(code(reason), reason.text) for reason in Reason])
    codes = table(["code", "meaning"], [(str(int(one)), one.text) for one in ExitCode])
    return (
        "# Reasons and exit codes\n\n## Reasons of rejection\n\nA photo that is not corrected has one of these, in the "
        f"catalog, in exports and in Python (`geocorrect.Reason`).\n\n{reasons}\n## Exit codes\n\n{codes}"
    )


# --- SQL ---


def sql_page() -> str:
    """Views and tables of the catalog with their comments; the columns of a view are those of an empty catalog."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Catalog.open(f"{folder}/c.gpkg", create=True) as catalog,
        catalog.engine.connect() as connection,
    ):
        columns = {
            view.name: [row[1] for row in connection.exec_driver_sql(f"pragma table_info({view.name})")]
            for view in views_of("sqlite")
        }
    tables = sorted(
        metadata.tables.values(), key=lambda one: _MEANING_FROM.index(one.name) if one.name in _MEANING_FROM else -1
    )
    meaning = {column.name: column.comment or "" for one in tables for column in one.columns}
    parts = [
        "# Tables and views\n",
        "The same in a GeoPackage and on PostGIS (schema `geocorrect`, where every table, column and view carries its "
        "comment). Degrees, metres, NULL = unknown. Queries: [cookbook](../cookbook.md).\n\n## Views\n",
    ]
    for view in views_of("postgresql"):
        shape = f" Geometry: {view.spatial.kind}." if view.spatial is not None else ""
        parts.append(f"### {view.name}\n\n{view.description}{shape}\n")
        parts.append(table(["column", ""], [(code(name), meaning.get(name, "")) for name in columns[view.name]]))
    parts.append("## Tables\n")
    for one in metadata.sorted_tables:
        parts.append(f"### {one.name} {{: #table-{one.name} }}\n\n{one.comment or ''}\n")
        rows = [
            (code(column.name), column.type.__class__.__name__.lower(), column.comment or "") for column in one.columns
        ]
        parts.append(table(["column", "type", ""], rows))
    return "\n".join(parts)


_MEANING_FROM = ("anchor", "run", "image", "correction")
"""Tables whose columns views repeat; of equal names in several tables the last one counts, these after all others."""
