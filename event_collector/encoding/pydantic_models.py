"""Kinds of tagged values from pydantic: models, addresses and secrets. Imported if the program has pydantic.

A model travels as its fields, and is made of them by validation.
"""

from typing import Any

import pydantic

from event_collector.encoding.classes import class_named
from event_collector.encoding.exact import exact
from event_collector.encoding.tagged import Restorer, Tagger, ValueKind, kinds


def _encode(model: "pydantic.BaseModel", tagger: Tagger) -> Any:
    values = vars(model)
    fields = {name: exact(values[name]) for name in type(model).model_fields}
    extra = {name: exact(value) for name, value in (model.model_extra or {}).items()}
    return tagger.name(type(model)), fields, extra, sorted(model.model_fields_set)


def _decode(content: Any, _: Restorer) -> Any:
    name, fields, extra, named = content
    cls = _known(name, pydantic.BaseModel)
    if issubclass(cls, pydantic.RootModel):
        model = cls.model_validate(fields["root"])
    else:
        model = cls.model_validate(fields | extra, by_name=True, by_alias=False)
    model.__pydantic_fields_set__.intersection_update(named)
    return model


def _as_model(kind: Any, value: Any) -> Any:
    """Return the model that data of another origin gives, such as a dict."""
    return value if isinstance(value, pydantic.BaseModel) else kind.model_validate(value)


def _known(name: str, base: type) -> Any:
    cls = class_named(name)
    if not issubclass(cls, base):
        raise TypeError(f"{name} is no {base.__name__}")
    return cls


def _secrets(name: str, cls: Any) -> ValueKind:
    return ValueKind(name, lambda secret, _: secret.get_secret_value(), lambda value, _: cls(value))


kinds.add(ValueKind("pydantic.model", _encode, _decode, _as_model), family=pydantic.BaseModel)
kinds.add(
    ValueKind(
        "pydantic.url",
        lambda url, tagger: (tagger.name(type(url)), str(url)),
        lambda content, _: _known(content[0], pydantic.AnyUrl)(content[1]),
    ),
    family=pydantic.AnyUrl,
)
kinds.add(_secrets("pydantic.text", pydantic.SecretStr), pydantic.SecretStr)
kinds.add(_secrets("pydantic.bytes", pydantic.SecretBytes), pydantic.SecretBytes)
