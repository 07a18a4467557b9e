"""Imports point one way: cli -> deploy, distillation -> passes -> groups -> axes -> rules -> errors."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = {"fxprune": "fxprune", "passes": "fxprune.passes", "cli": "fxprune.cli", "recipes": "fxprune.recipes"}

# top to bottom; a module may import from its own layer and from those below, never from above
LAYERS = [
    {"cli"},
    {"evaluation"},
    {"deploy", "latency", "distillation", "demo", "recipes", "report"},
    {"api", "planning", "result"},
    {
        "student",
        "certificate",
        "origin",
        "unread",
        "sources",
        "preprocessors",
        "examples",
        "placeholders",
        "classes",
        "hub",
        "schedule",
    },
    {"passes", "verify"},
    {
        "groups",
        "dependency",
        "explanation",
        "ledger",
        "plan",
        "layouts",
        "entries",
        "importance",
        "unit_scores",
        "smoothing",
        "allocation",
        "budget",
        "flops",
        "goal",
        "global_allocation",
        "choices",
        "forecast",
        "contractions",
        "consumers",
        "lockstep",
        "rescaling",
        "ridge",
        "refit",
        "repair",
        "silencing",
        "options",
        "widths",
        "workload",
        "locks",
    },
    {
        "inference",
        "application",
        "attention",
        "inferred",
        "ragged",
        "units",
        "traced",
        "plain",
        "tracing",
        "refusals",
        "baked",
        "exported",
        "shapes",
        "redrawing",
        "positions",
        "eager",
    },
    {"axes", "calls"},
    {"rules"},
    {"sizes"},
    {"errors", "atomic", "quiet", "printable", "trust", "wording", "occupied"},
]

# inside a function, where the public API or a command reaches up to what it needs only now and then
LAZY = {
    ("__init__", "distillation"),
    ("__init__", "evaluation"),
    ("__init__", "api"),
    ("api", "deploy"),
    ("planning", "deploy"),
    ("planning", "latency"),
    ("traced", "deploy"),
}


@cache
def modules() -> dict[str, Path]:
    """Every module of the package, by its name."""
    found = {}
    for folder, package in PACKAGES.items():
        for path in (ROOT / folder).rglob("*.py"):
            parts = [package, *path.relative_to(ROOT / folder).with_suffix("").parts]
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path, *, lazy: bool) -> Iterator[str]:
    """The modules of ours that a file imports when it is loaded, or (lazy) when a function of it runs."""
    for node, inside in _statements(ast.parse(path.read_text()), inside=False):
        if inside is lazy and isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "fxprune":
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in modules() else str(node.module)


def _statements(node: ast.AST, *, inside: bool) -> Iterator[tuple[ast.AST, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue  # never runs
        yield child, inside
        yield from _statements(child, inside=inside or isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)))


def area(module: str) -> str:
    """The part of the package a module belongs to: ``fxprune.rules.table`` is in ``rules``."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def layer(module: str) -> int:
    """Its place from the top; the package itself may import anything."""
    name = area(module)
    if name == "__init__":
        return -1
    places = [place for place, names in enumerate(LAYERS) if name in names]
    assert places, f"{module} is in no layer: give it one in LAYERS"
    return places[0]


def test_every_module_has_a_layer() -> None:
    assert len(modules()) > 60
    assert all(layer(module) >= -1 for module in modules())


def test_imports_point_down() -> None:
    upward = [
        f"{module} -> {imported}"
        for module, path in modules().items()
        for imported in imports(path, lazy=False)
        if layer(imported) < layer(module) and area(imported) != "__init__"
    ]
    assert upward == []


def test_imports_inside_functions_point_down_too_but_for_a_known_few() -> None:
    upward = {
        (area(module), area(imported))
        for module, path in modules().items()
        for imported in imports(path, lazy=True)
        if layer(imported) < layer(module)
    }
    assert upward <= LAZY


def test_no_module_imports_in_a_circle() -> None:
    graph = {module: set(imports(path, lazy=False)) - {module} for module, path in modules().items()}
    order = list(TopologicalSorter(graph).static_order())
    assert order.index("fxprune.errors") < order.index("fxprune.rules.table") < order.index("fxprune.inference")


def test_rules_and_axes_know_no_model_and_no_torch_module_tree() -> None:
    for name in ("fxprune.axes", "fxprune.rules.notation"):
        assert "torch" not in {line.split()[1].split(".")[0] for line in _import_lines(modules()[name])}


def _import_lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line.startswith(("import ", "from "))]


def test_no_architecture_is_known_by_name() -> None:
    names = ("bert", "llama", "gpt", "electra", "t5", "mistral", "qwen", "vit_", "vitfor")
    for module, path in modules().items():
        code = ast.unparse(_without_docstrings(ast.parse(path.read_text()))).lower()
        assert [name for name in names if name in code] == [], module


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
        ):
            body[0].value.value = ""
    return tree


def test_importing_the_package_loads_no_heavy_one() -> None:
    heavy = ["transformers", "onnx", "onnxruntime", "onnxscript", "datasets", "accelerate", "networkx"]
    code = f"import sys, fxprune; print([name for name in {heavy} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
