"""Settings errors, each in one line that names the setting, what is allowed and the nearest name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from dreamfusion_mesh.config.run import RunConfig
from dreamfusion_mesh.terminal import cut

_LONGEST = 60  # characters of a value that are shown
_OWN_RULE = "value_error"  # a validator of ours says what is allowed
_COUNTS = {2: "two", 3: "three"}
_PLACES = ("first", "second", "third")


class Problem(NamedTuple):
    """What is wrong with one setting.

    name  dotted; of a group, or empty, where settings do not go together
    text  what is allowed, and what was given or the nearest name
    """

    name: str
    text: str

    def __str__(self) -> str:
        return f"{self.name}: {self.text}" if self.name else self.text


def problems(error: ValidationError) -> list[Problem]:
    """Each setting that `error` refuses, once."""
    found: dict[str, Problem] = {}
    for details in error.errors(include_url=False):
        problem = _problem(details)
        found.setdefault(problem.name, problem)
    return list(found.values())


def _problem(details: Any) -> Problem:
    path, group = _setting([str(part) for part in details["loc"]])
    name = ".".join(path)
    if details["type"] == "extra_forbidden":
        return Problem(plain(name), f"unknown setting{nearest(path[-1], list(group))}")
    if details["type"] == _OWN_RULE:
        return Problem(name, details["msg"].removeprefix("Value error, "))
    schema, given, last = group[path[-1]], details["input"], details["loc"][-1]
    which = f" as the {_PLACES[last]}" if isinstance(last, int) and details["type"] != "missing" else ""
    return Problem(name, f"expected {allowed(schema)} (given {shown(given)}{which}){_remedy(name, schema, given)}")


def nearest(name: str, names: Sequence[str], others: str | None = None) -> str:
    """What to put after a message about an unknown `name`: the one of `names` that is most like it, or where none is `others` or all."""
    close = difflib.get_close_matches(name[:_LONGEST], names, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    return others if others is not None else f"; allowed: {', '.join(names)}" if names else ""


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
    return cut(text, _LONGEST)


def plain(name: str) -> str:
    """A name that a user gave, in one line and cut where it is long."""
    return cut(name if name.isprintable() else repr(name), _LONGEST)


@cache
def setting_schemas() -> Mapping[str, Mapping[str, Any]]:
    """The JSON schema of every setting, by its dotted name."""
    return dict(_flat(_schema()["properties"], ""))


def _flat(group: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, schema in group.items():
        if "$ref" in schema:
            yield from _flat(_schema()["$defs"][schema["$ref"].rpartition("/")[2]]["properties"], f"{prefix}{name}.")
        else:
            yield prefix + name, schema


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


def allowed(schema: Mapping[str, Any]) -> str:
    """What a setting takes, from its JSON schema, in one phrase."""
    kind = schema.get("type")
    if "anyOf" in schema:
        return " or ".join(allowed(each) for each in schema["anyOf"])
    if "const" in schema:
        return str(schema["const"])
    if "enum" in schema:
        return f"one of {', '.join(str(each) for each in schema['enum'])}"
    if kind == "array":
        count, number = len(schema["prefixItems"]), allowed(schema["prefixItems"][0]).removeprefix("a number ")
        return f"{_COUNTS[count]} numbers {number}, such as [{', '.join(_number(each) for each in schema['default'])}]"
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
        case "number", str() if re.fullmatch(r"-?\d+,\d+", given):
            return "; numbers have a point, not a comma"
        case "string", None | bool() | int() | float() if "enum" not in schema:
            text = "" if given is None else shown(given)
            return f"; quote such words for YAML: --set \"{name}='{text}'\""
    return ""


def _number(value: float) -> str:
    """Without an exponent."""
    return str(int(value)) if value == int(value) else f"{value:.9f}".rstrip("0")
