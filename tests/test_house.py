"""The order of the house: who may import whom, and what README promises."""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent
FLOORS = [
    {"calm", "weights"},
    {"experiment", "claims", "muon", "kernels"},
    {"disk", "patience"},
    {"models", "film"},
    {"strokes", "augment", "pictures"},
    {"camera"},
    {"loaders", "outliers"},
    {"letters"},
    {"training", "plots"},
    {"handwriting", "verdict", "probes", "exhibits", "report", "search", "charts"},
    {"questions", "course", "steady", "ledger"},
    {"greek", "screen", "champion", "crew"},
    {"keys"},
    {"live"},
]  # a module imports from floors below its own only, a script from all of them


def imports(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    return names | {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}


def test_imports_go_one_way():
    ours = {path.stem: imports(path) for path in ROOT.glob("*.py")}
    floor = {name: number for number, names in enumerate(FLOORS) for name in names}
    for name, imported in ours.items():
        for other in imported & set(ours):
            assert other in floor, f"{name}.py imports {other}.py, which is a script"
            assert floor[other] < floor.get(name, len(FLOORS)), (
                f"{name}.py imports {other}.py from its own floor or above"
            )


def test_scripts_have_several_words_and_modules_one():
    for path in ROOT.glob("*.py"):
        is_script = "__main__" in path.read_text()
        assert is_script == ("_" in path.stem), path.name


def test_readme_names_every_file_at_the_top():
    readme = (ROOT / "README.md").read_text()
    assert [path.name for path in ROOT.glob("*.py") if path.name not in readme] == []
