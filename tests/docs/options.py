"""What the documentation says of each option of a queue, made of the table in event_collector/life/settings.py."""

import inspect
import re
import textwrap
from typing import Any

from event_collector.life.option import REQUIRED, Option
from event_collector.life.settings import OPTIONS

WIDTH = 120


def docstring_arguments() -> str:
    """Return the Args section of CollectorQueue."""
    return "\n".join(
        ["    Args:", *(entry for option in OPTIONS for entry in textwrap.wrap(
            f"{option.name}: {' '.join(sentences(option))}", WIDTH,
            initial_indent=" " * 8, subsequent_indent=" " * 12, break_long_words=False, break_on_hyphens=False,
        ))]
    )  # fmt: skip


def sentences(option: Option) -> list[str]:
    """Return the meaning of an option, then its unit and range."""
    values = option.values
    return [option.meaning, f"{values[0].upper()}{values[1:]}."] if values else [option.meaning]


def reference_table() -> str:
    """Return the table of docs/reference.md."""
    lines = ["| option | type | default | values | meaning |", "|---|---|---|---|---|"]
    lines += [f"| {' | '.join(cells(option))} |" for option in OPTIONS]
    return "\n".join(lines)


def cells(option: Option) -> list[str]:
    texts = [
        f"`{option.name}`",
        f"`{source_of_type(option.type)}`",
        "" if option.default is REQUIRED else f"`{source_of_value(option.default)}`",
        option.values,
        option.meaning,
    ]
    return [text.replace("|", "\\|") for text in texts]


def source_of_type(kind: Any) -> str:
    """Return an annotation as in the signature, without the modules of its names."""
    source = kind if isinstance(kind, str) else inspect.formatannotation(kind)
    return re.sub(r"\b(?:\w+\.)+(?=[A-Z])", "", source)


def source_of_value(value: Any) -> str:
    return value.__name__ if isinstance(value, type) else re.sub(r"<(\S+): .*>", r"\1", repr(value))
