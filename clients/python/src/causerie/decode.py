"""From JSON to the frames of :mod:`causerie.frames`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, cast

from .errors import ProtocolError
from .frames import NESTED, SERVER_FRAMES, ServerFrame


def decode(text: str) -> ServerFrame | None:
    """A frame of the server; None for one of a kind that is not known, which clients pass over.

    Raises ProtocolError if it is no frame at all, or lacks what it must have.
    """
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ProtocolError(f"the server sent what is no JSON: {error}") from error
    if not isinstance(value, dict) or not isinstance(value.get("type"), str):
        raise ProtocolError("the server sent what is no object with a type")
    kind = SERVER_FRAMES.get(value["type"])
    return None if kind is None else cast(ServerFrame, _build(kind, value))


def _build(kind: type[Any], value: Mapping[str, Any]) -> Any:
    nested = NESTED.get(kind, {})
    given: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        if value.get(field.name) is None:
            required = field.default is dataclasses.MISSING
            if required and field.name not in value:
                raise ProtocolError(f"the server sent `{kind.__name__}` without `{field.name}`")
            if required:
                given[field.name] = None
            continue
        inner = value[field.name]
        of = nested.get(field.name)
        if of is not None:
            inner = [_build(of, item) for item in inner] if isinstance(inner, list) else _build(of, inner)
        given[field.name] = inner
    return kind(**given)
