"""A settings error in one line that names the setting, what is allowed and the nearest name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from pydantic import BaseModel, ValidationError

from dreamfusion_mesh.config.run import RunConfig

_LONGEST = 60  # characters of a value that are shown
_OWN_RULE = "value_error"  # a validator of ours says what is allowed


def explain(error: ValidationError) -> str:
    """The first problem of `error` in one line: the setting's dotted name, what is allowed, and what was given or the nearest name."""
    problem = error.errors(include_url=False)[0]
    path, group = _setting([str(part) for part in problem["loc"]])
    name = ".".join(path)
    if problem["type"] == "extra_forbidden":
        return f"{plain(name)}: unknown setting{nearest(path[-1], list(group))}"
    if problem["type"] == _OWN_RULE:
        message = problem["msg"].removeprefix("Value error, ")
        return f"{name}: {message}" if name else message
    schema, given, last = group[path[-1]], problem["input"], problem["loc"][-1]
    which = f" as the {('first', 'second')[last]}" if isinstance(last, int) and problem["type"] != "missing" else ""
    return f"{name}: expected {_allowed(schema)} (given {shown(given)}{which}){_remedy(name, schema, given)}"


def nearest(name: str, names: Sequence[str]) -> str:
    """What to put after a message about an unknown `name`: the one of `names` that is most like it, or all of them where none is."""
    close = difflib.get_close_matches(name[:_LONGEST], names, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; allowed: {', '.join(names)}" if names else ""


def shown(value: Any) -> str:
    """A value as an error names it: in YAML's words, and cut where it is long."""
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case int() if value.bit_length() > 1000:  # Python refuses to write some thousands of digits
            return f"a number of {value.bit_length()} bits"
        case Mapping() | BaseModel():
            return "a mapping"
        case list() | tuple():
            text = f"[{', '.join(shown(entry) for entry in value[:4])}{', ...' if len(value) > 4 else ''}]"
        case _:
            text = repr(value)
    return _cut(text)


def plain(name: str) -> str:
    """A name that a user gave, in one line and cut where it is long."""
    return _cut(name if name.isprintable() else repr(name))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


@cache
def _schema() -> dict[str, Any]:
    return RunConfig.model_json_schema()


def _setting(loc: Sequence[str]) -> tuple[list[str], Mapping[str, Any]]:
    """The part of pydantic's path that names a setting, and the JSON schemas of the settings beside it; the rest leads into its value."""
    schema = _schema()
    group: Mapping[str, Any] = schema["properties"]
    for depth, name in enumerate(loc):
        reference = group.get(name, {}).get("$ref")
        if reference is None or depth == len(loc) - 1:
            return list(loc[: depth + 1]), group
        group = schema["$defs"][reference.rpartition("/")[2]]["properties"]
    return list(loc), group


def _allowed(schema: Mapping[str, Any]) -> str:
    """What a setting takes, from its JSON schema, in one phrase."""
    kind = schema.get("type")
    if "anyOf" in schema:
        return " or ".join(_allowed(each) for each in schema["anyOf"])
    if "const" in schema:
        return str(schema["const"])
    if "enum" in schema:
        return f"one of {', '.join(str(each) for each in schema['enum'])}"
    if kind == "array":
        number = _allowed(schema["prefixItems"][0]).removeprefix("a number ")
        return f"two numbers {number}, such as [{', '.join(_number(each) for each in schema['default'])}]"
    if kind in ("integer", "number"):
        words = "a whole number" if kind == "integer" else "a number"
        return f"{words} from {_number(schema['minimum'])} to {_number(schema['maximum'])}"
    if kind == "boolean":
        return "true or false"
    return f"words, at most {schema['maxLength']} characters" if kind == "string" else "settings (name: value)"


def _remedy(name: str, schema: Mapping[str, Any], given: Any) -> str:
    match schema.get("type"), given:
        case "boolean", str():
            return "; in YAML 1.2 yes, no, on and off are words"
        case "string", None | bool() | int() | float() if "enum" not in schema:
            text = "" if given is None else shown(given)
            return f"; quote such words for YAML: --set \"{name}='{text}'\""
    return ""


def _number(value: float) -> str:
    """Without an exponent."""
    return str(int(value)) if value == int(value) else f"{value:.9f}".rstrip("0")
