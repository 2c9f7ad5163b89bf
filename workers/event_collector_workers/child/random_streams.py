"""Random streams: each worker gives all generators that exist after its imports a state of their own.

A process that is forked has the generators of its parent, in the same state: all workers would draw the same numbers.
The state of a generator follows from the seed of the pool, the birth of the worker and the name of the generator. The
generators of this process are found among the objects of the garbage collector. No library is imported for this.
"""

from __future__ import annotations

import gc
import os
import sys
from contextlib import contextmanager
from itertools import compress, filterfalse
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Set

    from event_collector_workers.child.birth import Birth

_TRACKED: Final = 1 << 14  # Py_TPFLAGS_HAVE_GC: the garbage collector knows the objects of such a type
_PARTS: Final = ("_bit_generator", "_seed_seq")  # attributes of NumPy's objects; their name follows from that object
_KNOWN: Final = ("random", "numpy", "torch")  # whose own generators can all be given a state
_WELL_KNOWN: Final = (("random", "_inst"), ("numpy.random.mtrand", "_rand"))  # most programs have no others
_WITHOUT_NAMES: Final = sys.stdlib_module_names | {"numpy"}
"""Packages with very many attributes, whose few generators are well known or need no name."""
_CONTAINERS: Final = frozenset((tuple, dict))  # those that the garbage collector lets go
_OWN_STATE: Final = ("random", "getrandbits")  # methods of random.Random that a class with another state replaces


_class_attributes: Final = type.__dict__["__dict__"].__get__


class GeneratorKind(NamedTuple):
    """A class of generators, and the function that gives one of them the state of a number of 128 bits."""

    base: type
    reseed: Callable[[Any, int], object]


class RandomStreams:
    """The generators of this process, by name. Filled before a fork and, with what was imported since, after it."""

    def __init__(self) -> None:
        self._generators: dict[str, object] = {}
        self._unnamed: dict[type, int] = {}  # generators of each class that are in no module and in no class

    def __repr__(self) -> str:
        return f"<RandomStreams {list(self._generators)}>"

    def find(self) -> list[str]:
        """Add the generators that the garbage collector has not frozen. Return the classes that have another state.

        What has a state that only its own class can set, and no way to set it, is left alone.
        """
        found = _find_generators()
        fit = [one for one in found if _is_fit(one)]
        names = _names({id(one) for one in fit}) if fit else {}
        for one in fit:
            self._generators[names.get(id(one)) or self._next_name(type(one))] = one
        return sorted({_class_name(type(one)) for one in found} - {_class_name(type(one)) for one in fit})

    def reseed(self, seed: int, birth: Birth) -> None:
        """Give each generator, and those of devices, its stream."""
        kinds = _kinds()
        for name, one in self._generators.items():
            _kind_of(one, kinds).reseed(one, derive(seed, birth, name))
        torch: Any = sys.modules.get("torch")
        if hasattr(torch, "manual_seed"):
            torch.manual_seed(derive(seed, birth, "torch") >> 65)

    def _next_name(self, kind: type) -> str:
        self._unnamed[kind] = self._unnamed.get(kind, 0) + 1
        return f"{_class_name(kind)} {self._unnamed[kind]}"


@contextmanager
def collections_put_off() -> Iterator[None]:
    """Put off the collection of garbage, so that objects are found in the order in which they were made."""
    before = gc.get_threshold()
    gc.set_threshold(0)
    try:
        yield
    finally:
        if not gc.get_threshold()[0]:  # else an import has set its own
            gc.set_threshold(*before)


def derive(seed: int, birth: Birth, name: str) -> int:
    """Return the 128 bits that start the stream with this name."""
    from random import Random

    return Random(f"{seed} {birth.number} {birth.start} {name}").getrandbits(128)


def _find_generators() -> list[object]:
    kinds = {kind for base in _kinds() for kind in _family(base.base)}
    if not kinds:
        return []
    objects = gc.get_objects()
    found = _of_types(objects, kinds)
    if all(kind.__flags__ & _TRACKED for kind in kinds):
        return found
    return list({id(one): one for one in (*found, *_untracked(objects, kinds))}.values())


def _is_fit(one: object) -> bool:
    """Return whether the generator can be given a state. Those of users are tried."""
    if type(one).__module__.partition(".")[0] in _KNOWN:
        return True
    try:
        _kind_of(one, _kinds()).reseed(one, int.from_bytes(os.urandom(16), "little"))
    except Exception:
        return False
    return True


def _class_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _kinds() -> list[GeneratorKind]:
    """Return the classes of generators in the libraries that this process has imported."""
    kinds = []
    random: Any = sys.modules.get("random")
    if hasattr(random, "Random"):
        kinds.append(GeneratorKind(random.Random, _reseed_random))
    numpy: Any = sys.modules.get("numpy.random")
    if hasattr(numpy, "SeedSequence"):  # else it is being imported
        kinds.append(GeneratorKind(numpy.SeedSequence, _reseed_sequence))
        kinds.append(GeneratorKind(numpy.BitGenerator, _reseed_bits))
        kinds.append(GeneratorKind(numpy.RandomState, _forget_spare))
    torch: Any = sys.modules.get("torch")
    if isinstance(getattr(torch, "Generator", None), type):
        kinds.append(GeneratorKind(torch.Generator, lambda one, number: one.manual_seed(number >> 65)))
    return kinds


def _kind_of(one: object, kinds: list[GeneratorKind]) -> GeneratorKind:
    return next(kind for kind in kinds if issubclass(type(one), kind.base))


def _family(base: type) -> Iterator[type]:
    """Yield a class and its subclasses, but for those that ask the system for each number."""
    if base is not getattr(sys.modules.get("random"), "SystemRandom", None):
        yield base
        children: list[type] = type.__subclasses__(base)
        for child in children:
            yield from _family(child)


def _of_types(objects: list[object], types: Set[type]) -> list[object]:
    """Return the objects of these types. There may be a hundred thousand, so no line of Python runs for each."""
    return list(compress(objects, map(types.__contains__, map(type, objects))))


def _untracked(objects: list[object], kinds: set[type]) -> Iterator[object]:
    """Yield the instances that the objects refer to, in containers too that the garbage collector has let go."""
    while objects:
        referents = gc.get_referents(*objects)
        yield from _of_types(referents, kinds)
        containers = filterfalse(gc.is_tracked, _of_types(referents, _CONTAINERS))
        objects = list({id(one): one for one in containers}.values())


def _reseed_random(one: Any, number: int) -> None:
    base = sys.modules["random"].Random
    own = {name for kind in type(one).__mro__ if kind is not base and issubclass(kind, base) for name in vars(kind)}
    if "seed" not in own and own.intersection(_OWN_STATE):
        raise TypeError("it has a state of its own that only it can set")
    base.seed(one, number)
    if "seed" in own:
        one.seed(number)


def _reseed_sequence(one: Any, number: int) -> None:
    # In place: what has been made of it refers to it, and a handler may spawn more from it.
    sys.modules["numpy.random"].SeedSequence.__init__(one, number)


def _reseed_bits(one: Any, number: int) -> None:
    kind = next((kind for kind in type(one).__mro__ if kind.__module__.startswith("numpy.random._")), type(one))
    one.state = kind(sys.modules["numpy.random"].SeedSequence(number)).state


def _forget_spare(one: Any, _number: int) -> None:
    """Forget the second number of the last normal pair. The bits that it draws from are a generator by themselves."""
    one.set_state(one.get_state(legacy=False) | {"has_gauss": 0, "gauss": 0.0})


def _names(wanted: set[int]) -> dict[int, str]:
    """Return the names of objects, by id, that are attributes of a module or of a class in one."""
    names: dict[int, str] = {}
    wholes = _wholes()

    def note(value: object, name: str) -> None:
        if id(value) in wanted:
            names.setdefault(id(value), name)
        if issubclass(type(value), wholes):
            for part in _PARTS:
                note(getattr(value, part, None), f"{name}.{part}")

    for module_name, name in _WELL_KNOWN:
        note(getattr(sys.modules.get(module_name), name, None), f"{module_name}.{name}")
    for module_name, module in reversed(list(sys.modules.items())):  # the modules of new generators are new themselves
        if len(names) == len(wanted):
            return names
        if module_name.partition(".")[0] not in _WITHOUT_NAMES and issubclass(type(module), ModuleType):
            for name, value in _attributes(module_name, module):
                note(value, name)
    return names


def _attributes(module_name: str, module: ModuleType) -> Iterator[tuple[str, object]]:
    """Yield names and values of the attributes of a module, and of its classes."""
    # An attribute of a lazy module may run code.
    for name, value in list(object.__getattribute__(module, "__dict__").items()):
        yield f"{module_name}.{name}", value
        attributes = _class_attributes(value) if issubclass(type(value), type) else {}
        if attributes.get("__module__") == module_name:
            for attribute, inner in list(attributes.items()):
                yield f"{module_name}.{name}.{attribute}", inner


def _wholes() -> tuple[type, ...]:
    numpy: Any = sys.modules.get("numpy.random")
    return (numpy.Generator, numpy.RandomState, numpy.BitGenerator) if hasattr(numpy, "Generator") else ()
