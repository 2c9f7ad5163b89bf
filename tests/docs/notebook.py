"""Runs a notebook's cells as a notebook does, one after the other in one session, and prints what each printed.

    python notebook.py NOTEBOOK

The session's main module has no file, as that of a kernel has none. Prints a JSON list, a string for each cell
of code.
"""

import ast
import asyncio
import builtins
import inspect
import io
import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

WRITE = "%%writefile "


async def run(cells: list[str], session: ModuleType) -> list[str]:
    """Run cells of code, in which `await` may stand at the top, and return what they printed."""
    printed = []
    for number, source in enumerate(cells):
        with redirect_stdout(io.StringIO()) as output:
            if source.startswith(WRITE):
                name, _, text = source.removeprefix(WRITE).partition("\n")
                Path(name).write_text(text)
                print(f"Writing {name}")
            else:
                flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
                running: Any = eval(compile(source, f"<cell {number}>", "exec", flags=flags), vars(session))
                if inspect.iscoroutine(running):
                    await running
        printed.append(output.getvalue())
    return printed


def main() -> None:
    """Run the notebook that is named on the command line."""
    cells = json.loads(Path(sys.argv[1]).read_text())["cells"]
    sys.path.insert(0, "")
    sys.modules["__main__"] = session = ModuleType("__main__")
    vars(builtins)["get_ipython"] = lambda: None  # as while a kernel runs a cell
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    print(json.dumps(asyncio.run(run(code, session))))


if __name__ == "__main__":
    main()
