"""The layout of the repository: what lies where, and who may import whom."""

import ast
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPTS = {
    "train_mnist",
    "examine_network",
    "transfer_greek",
    "greek_from_scratch",
    "fashion_grid_search",
    "live_detect",
}
ORDER = ["preprocessing", "datasets", "evaluation", "training"]  # each imports what stands before it
LAST = {"interpretability", "tuning", "live"}  # each imports all of the order, and none of the others
MODULES = sorted(ROOT.glob("*.py")) + sorted((ROOT / "pipeline").rglob("*.py"))


def imported(path: Path) -> set[str]:
    """The modules of ours that a file imports, such as "models" or "pipeline.training.loop"."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if (ROOT / (name.replace(".", "/") + ".py")).is_file()}


def package(module: str) -> str:
    """Where a module lies: "models", a script's name, "pipeline", or a folder of it such as "training"."""
    first, *rest = module.split(".")
    return first if first != "pipeline" else rest[0] if len(rest) > 1 else "pipeline"


def may_import(package: str) -> set[str]:
    if package in SCRIPTS:
        return {"models", "pipeline", *ORDER, *LAST}
    if package in LAST:
        return {"models", "pipeline", *ORDER, package}
    if package in ORDER:
        return {"models", "pipeline", *ORDER[: ORDER.index(package) + 1]}
    return {"pipeline": {"models", "pipeline"}, "models": set()}[package]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_what_stands_before_it(path):
    module = str(path.relative_to(ROOT).with_suffix("")).replace("/", ".").removesuffix(".__init__")
    assert {other for other in imported(path) if package(other) not in may_import(package(module))} == set()
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300


def test_no_module_imports_itself_in_a_circle():
    graph = {
        str(path.relative_to(ROOT).with_suffix("")).replace("/", "."): imported(path)
        for path in MODULES
        if path.name != "__init__.py"
    }
    while leaves := {module for module, others in graph.items() if not others & graph.keys()}:
        graph = {module: others for module, others in graph.items() if module not in leaves}
    assert not graph


def test_the_root_has_the_agreed_files():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    entries = {line.split("/")[0] for line in tracked.splitlines()}
    assert {entry.removesuffix(".py") for entry in entries if entry.endswith(".py")} == {"models", *SCRIPTS}
    assert len([entry for entry in entries if not entry.startswith(".")]) <= 22


def test_requirements_are_those_of_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = {name: (ROOT / name).read_text().split() for name in ("requirements.txt", "requirements-dev.txt")}
    assert lines["requirements.txt"] == project["dependencies"]
    extras = project["optional-dependencies"]
    assert {*extras["postgres"], *extras["heif"], *extras["dashboard"]} <= set(lines["requirements-dev.txt"])
