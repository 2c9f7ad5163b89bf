"""Classes that tagged values name: how they are named, and found again.

A name in a message leads to a class only if its module is imported. A message to a worker says which modules its values
need, as the program has them, and the worker imports these.
"""

import sys
from collections.abc import Iterable
from importlib import import_module
from typing import Final

_MAIN_OF_WORKERS: Final = "__mp_main__"
"""What multiprocessing calls the main module of the program where it is imported. It is `__main__` there, too."""


def name_of(cls: type) -> str:
    """Return the name of a class as `module:qualname`. Raise TypeError if it cannot be found by that."""
    module, name = cls.__module__, cls.__qualname__
    if find_imported(module, name) is not cls:
        where = "is defined inside a function" if "<locals>" in name else f"is not what {module} has by that name"
        raise TypeError(
            f"the class {name} {where}, so that another process cannot find it: define it at the top level of a module"
        )
    return f"{'__main__' if module == _MAIN_OF_WORKERS else module}:{name}"


def class_named(name: str) -> type:
    """Return the class of a name. Raise ValueError if its module is not imported, or has no such class."""
    module, _, qualname = name.partition(":")
    found = find_imported(module, qualname)
    if not isinstance(found, type):
        raise ValueError(
            f"the class {qualname} of {module} is not imported here: import it, or annotate the value with it"
        )
    return found


def import_modules(names: Iterable[str]) -> None:
    """Import modules that a message to a worker needs."""
    for name in names:
        if name not in sys.modules:
            import_module(name)


def find_imported(module: str, qualname: str) -> object:
    """Return what an imported module has by a name; None if there is nothing.

    Imports nothing and computes no attribute: that would run code by a name that comes from another process.
    """
    found: object = sys.modules.get(module)
    for name in qualname.split("."):
        found = getattr(found, "__dict__", {}).get(name)
    return found
