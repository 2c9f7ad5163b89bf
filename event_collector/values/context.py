"""The context that the handler and the lifecycle of a collector share."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

from event_collector.values.errors import ConfigError

Record: TypeAlias = dict[str, Any]


class Context:
    """Named values that a collector's handler and lifecycle share, accessible as attributes and as items."""

    def __init__(self, data: Record | None = None) -> None:
        if data is not None:
            if not isinstance(data, dict):
                raise ConfigError(f"Context takes a dict, not {data!r}")
            self.__dict__ = data  # not a copy: the caller sees what handlers store

    if TYPE_CHECKING:

        def __setattr__(self, name: str, value: Any) -> None: ...
        def __delattr__(self, name: str) -> None: ...

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"the context has no {name!r}; it has {sorted(self.__dict__)}")

    def __getitem__(self, name: str) -> Any:
        return self.__dict__[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self.__dict__[name] = value

    def __delitem__(self, name: str) -> None:
        del self.__dict__[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.__dict__)

    def __len__(self) -> int:
        return len(self.__dict__)

    def __contains__(self, name: object) -> bool:
        return name in self.__dict__

    def __repr__(self) -> str:
        return f"<Context: {self.__dict__!r}>"
