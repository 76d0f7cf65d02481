"""The example notebook: its cells executed in this process, and the page of the docs made of what they gave.

python -m tests.notebook    executes docs/notebooks/first_look.ipynb in place and writes docs/notebook.md; minutes
"""

import ast
import base64
import contextlib
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from tests.places import ROOT

NOTEBOOK = ROOT / "docs" / "notebooks" / "first_look.ipynb"
PAGE = ROOT / "docs" / "notebook.md"
PICTURES = "pictures/notebook_{}.png"
_DOTS = 80
Cell = dict[str, Any]


def read() -> dict[str, Any]:
    notebook: dict[str, Any] = json.loads(NOTEBOOK.read_text())
    return notebook


def execute(cells: list[Cell], changed: Callable[[str], str] = lambda source: source) -> dict[str, Any]:
    """Runs the code cells, one after the other, puts their outputs into them, and returns their names."""
    space: dict[str, Any] = {"__name__": "notebook"}
    for cell in cells:
        if cell["cell_type"] == "code":
            cell["outputs"] = list(_outputs(changed("".join(cell["source"])), space))
    return space


def _outputs(source: str, space: dict[str, Any]) -> list[dict[str, Any]]:
    tree, said, shown = ast.parse(source), io.StringIO(), None
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    with contextlib.redirect_stdout(said):
        exec(compile(tree, "cell", "exec"), space)
        if isinstance(last, ast.Expr):
            shown = eval(compile(ast.Expression(last.value), "cell", "eval"), space)
    found: list[dict[str, Any]] = []
    if said.getvalue():
        found.append({"output_type": "stream", "name": "stdout", "text": said.getvalue().splitlines(keepends=True)})
    if shown is not None:
        result = {"output_type": "execute_result", "execution_count": None, "metadata": {}}
        found.append(result | {"data": _display(shown)})
    return found


def _display(shown: Any) -> dict[str, Any]:
    """What a notebook keeps of a value: text, and HTML or a picture where the value has one."""
    data: dict[str, Any] = {
        "text/plain": (f"<Figure of {len(shown.axes)}>" if isinstance(shown, Figure) else repr(shown))
    }
    if isinstance(shown, Figure):
        file = io.BytesIO()
        shown.savefig(file, format="png", dpi=_DOTS, metadata={"Software": None})
        data["image/png"] = base64.b64encode(file.getvalue()).decode()
    elif hasattr(shown, "_repr_html_"):
        data["text/html"] = shown._repr_html_()
    return data


def page(notebook: dict[str, Any]) -> tuple[str, dict[str, bytes]]:
    """The notebook as a page of the docs, and its pictures by their place in docs/."""
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            data = output.get("data", {})
            if output["output_type"] == "stream":
                parts.append(f"```text\n{''.join(output['text']).rstrip()}\n```")
            elif "image/png" in data:
                name = PICTURES.format(len(pictures) + 1)
                pictures[name] = base64.b64decode(data["image/png"])
                parts.append(f"![what the cell draws]({name})")
            elif "text/html" in data:
                parts.append(data["text/html"])
            else:
                parts.append(f"```text\n{data['text/plain']}\n```")
    return "\n\n".join(parts) + "\n", pictures


def main() -> int:
    """Executes the notebook and writes what comes of it."""
    notebook = read()
    execute(notebook["cells"])
    NOTEBOOK.write_text(json.dumps(notebook, indent=1) + "\n")
    text, pictures = page(notebook)
    PAGE.write_text(text)
    for name, content in pictures.items():
        (ROOT / "docs" / name).write_bytes(content)
    print(f"{NOTEBOOK}, {Path(PAGE).name} and {len(pictures)} pictures", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
