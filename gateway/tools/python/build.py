"""Two steps of a build:

    build.py imports DIR       prints the interfaces that the plugin's modules import
    build.py componentize …    the tool's own command line
"""

import ast
import json
import pathlib
import sys

SKIPPED = {"build", "cases", "node_modules", "target", "__pycache__"}
PACKAGE = "wit_world.imports"


def modules(directory):
    for path in sorted(directory.iterdir()):
        if path.name.startswith(".") or path.name in SKIPPED:
            continue
        if path.is_dir():
            yield from modules(path)
        elif path.suffix == ".py":
            yield path


def imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "wit_world":
            if any(alias.name == "imports" for alias in node.names):
                # Used as imports.NAME.
                yield from (
                    use.attr
                    for use in ast.walk(tree)
                    if isinstance(use, ast.Attribute) and isinstance(use.value, ast.Name) and use.value.id == "imports"
                )
        elif isinstance(node, ast.ImportFrom) and node.module == PACKAGE:
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE + "."):
            yield node.module.removeprefix(PACKAGE + ".")
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith(PACKAGE + "."):
                    yield alias.name.removeprefix(PACKAGE + ".")


def imports(directory):
    found = set()
    for path in modules(directory):
        try:
            found.update(imported(ast.parse(path.read_bytes(), str(path.relative_to(directory)))))
        except (SyntaxError, ValueError) as error:
            sys.exit(f"{path.relative_to(directory)}: {error}")
    print(json.dumps(sorted(found)))


if __name__ == "__main__":
    if sys.argv[1] == "imports":
        imports(pathlib.Path(sys.argv[2]))
    else:
        import componentize_py

        sys.exit(componentize_py.script())
