"""Whether a value is what a JSON schema says: the part of the language that our own description uses, strictly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

KNOWN = {
    "type", "enum", "items", "properties", "required", "additionalProperties", "oneOf", "$ref", "description",
    "minimum", "maximum", "maxLength", "default",
}  # fmt: skip
TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
    "array": (list,),
    "object": (dict,),
}


def faults(value: Any, schema: dict[str, Any], document: dict[str, Any], at: str = "$") -> Iterator[str]:
    """What is wrong with `value`, if anything."""
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    assert schema.keys() <= KNOWN, f"{at}: this check doesn't know {schema.keys() - KNOWN}"
    if "oneOf" in schema:
        yield from min((list(faults(value, one, document, at)) for one in schema["oneOf"]), key=len)
    elif "type" in schema and not _is_type(value, schema["type"]):
        yield f"{at}: expected {schema['type']}, got {value!r}"[:200]
    elif "enum" in schema and value not in schema["enum"]:
        yield f"{at}: expected one of {schema['enum']}, got {value!r}"[:200]
    else:
        yield from _within(value, schema, document, at)


def _is_type(value: Any, names: str | list[str]) -> bool:
    wanted = [names] if isinstance(names, str) else names
    if isinstance(value, bool):
        return "boolean" in wanted
    return any(isinstance(value, TYPES[name]) for name in wanted)


def _within(value: Any, schema: dict[str, Any], document: dict[str, Any], at: str) -> Iterator[str]:
    if isinstance(value, dict):
        yield from _of_object(value, schema, document, at)
    elif isinstance(value, list) and "items" in schema:
        for number, item in enumerate(value):
            yield from faults(item, schema["items"], document, f"{at}[{number}]")


def _of_object(value: dict[str, Any], schema: dict[str, Any], document: dict[str, Any], at: str) -> Iterator[str]:
    known = schema.get("properties", {})
    others = schema.get("additionalProperties", True)
    yield from (f"{at}: lacks {name}" for name in schema.get("required", ()) if name not in value)
    for name, inner in value.items():
        if name in known:
            yield from faults(inner, known[name], document, f"{at}.{name}")
        elif others is False:
            yield f"{at}: has {name}, which the description lacks"
        elif isinstance(others, dict):
            yield from faults(inner, others, document, f"{at}.{name}")
