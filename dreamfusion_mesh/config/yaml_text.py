"""YAML as settings are written in it: one document of mappings, lists and scalars, by the core schema of YAML 1.2.

PyYAML reads YAML 1.1, in which 010 is 8, 1:30 is 90 and `no` is false. Its parser alone is used here; what the events of the parser mean
follows the core schema (https://yaml.org/spec/1.2.2/, section 10.3.2). Any text is read or refused in one line, and in a time that grows
with its length: length, depth and the values that aliases repeat are limited, and there are no tags and no merge keys.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

import yaml

from dreamfusion_mesh.errors import BadInput

MAX_CHARACTERS = 100_000  # run.yaml has 3,000
MAX_DEPTH = 20
MAX_VALUES = 10_000  # what aliases repeat counts each time
_MAX_DIGITS = 100  # of a number; more is no setting's value, and Python refuses to convert some thousands
_SPACES = "\t\n\v\f\r\x85"  # control characters that are white space

_NULL = re.compile(r"(?:~|null|Null|NULL)?")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]+")
_OTHER_INT = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


def read_yaml(text: str, where: str) -> Any:
    """The value of a text with one document, None where it is empty; keys are strings.

    where  named in front of an error, such as "--set seed"; a line's number follows where there are more than one
    Raises BadInput in one line for any other text.
    """
    if len(text) > MAX_CHARACTERS:
        raise BadInput(f"{where}: {len(text)} characters of YAML, at most {MAX_CHARACTERS} are read; is it a file of settings?")
    try:
        return _Document(text).read()
    except _Refused as problem:
        message, line = str(problem), problem.line
    except yaml.MarkedYAMLError as error:
        message = f"not valid YAML ({error.problem or error.context})"
        line = error.problem_mark.line + 1 if error.problem_mark else 1
    except yaml.reader.ReaderError as error:
        message = f"not valid YAML (it has the character U+{int(error.character):04X}; plain text is allowed)"
        line = text.count("\n", 0, error.position) + 1
    except (ValueError, OverflowError):  # \UFFFFFFFF in quotes
        message, line = "not valid YAML (a number in an escape is no character)", 1
    shown = f"{where}, line {line}" if "\n" in text.strip() else where
    raise BadInput(f"{shown}: {' '.join(message.split())[:300]}")


def write_yaml(values: Mapping[str, Any]) -> str:
    """Plain values as YAML that `read_yaml` and readers of YAML 1.1 read back alike."""
    return yaml.dump(dict(values), Dumper=_Dumper, sort_keys=False)


def write_value(value: Any) -> str:
    """A plain value as YAML on one line, as `--set` reads it back."""
    return yaml.dump(value, Dumper=_Dumper, default_flow_style=True, width=math.inf).removesuffix("...\n").strip()


def control_character(text: str) -> str | None:
    """The first control character of a text that is no white space, or half of a surrogate pair; None where it has none."""
    if text.isprintable():
        return None
    return next((letter for letter in text if unicodedata.category(letter) in ("Cc", "Cs") and letter not in _SPACES), None)


class _Refused(Exception):
    """YAML that is valid, and not read here."""

    def __init__(self, message: str, event: yaml.Event) -> None:
        super().__init__(message)
        self.line = event.start_mark.line + 1 if event.start_mark else 1


class _Document:
    """The parser's events as values. An anchor has None while its value is read, then the value and how many values that holds."""

    def __init__(self, text: str) -> None:
        self._events = yaml.parse(text, Loader=yaml.SafeLoader)
        self._anchors: dict[str, tuple[Any, int] | None] = {}
        self._count = 0

    def read(self) -> Any:
        self._next()  # the stream begins
        if isinstance(self._next(), yaml.StreamEndEvent):
            return None
        value = self._value(self._next(), 0)
        self._next()  # the document ends
        after = self._next()
        if not isinstance(after, yaml.StreamEndEvent):
            raise _Refused("a second document begins; one is read: take the line of --- out", after)
        return value

    def _next(self) -> Any:
        return next(self._events)

    def _value(self, event: Any, depth: int) -> Any:
        if isinstance(event, yaml.AliasEvent):
            return self._repeated(event)
        if event.tag is not None:
            raise _Refused(f"the tag {event.tag!r} is not read; take it out", event)
        if depth > MAX_DEPTH:
            raise _Refused(f"more than {MAX_DEPTH} levels, one inside the other; settings have 3", event)
        before = self._count
        self._add(1, event)
        if event.anchor:
            self._anchors[event.anchor] = None
        if isinstance(event, yaml.ScalarEvent):
            value = _scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = self._sequence(depth)
        else:
            value = self._mapping(depth)
        if event.anchor:
            self._anchors[event.anchor] = value, self._count - before
        return value

    def _sequence(self, depth: int) -> list[Any]:
        values = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            values.append(self._value(event, depth + 1))
        return values

    def _mapping(self, depth: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            key = _key(event)
            if key in values:
                raise _Refused(f"{key!r} is there twice; keep one", event)
            values[key] = self._value(self._next(), depth + 1)
        return values

    def _repeated(self, event: yaml.AliasEvent) -> Any:
        found = self._anchors.get(str(event.anchor))
        if found is None:
            why = "contains itself" if event.anchor in self._anchors else "has no anchor before it"
            raise _Refused(f"the alias *{event.anchor} {why}; write the value out", event)
        self._add(found[1], event)
        return found[0]

    def _add(self, count: int, event: Any) -> None:
        self._count += count
        if self._count > MAX_VALUES:
            raise _Refused(f"more than {MAX_VALUES} values; is it a file of settings?", event)


def _key(event: Any) -> str:
    if isinstance(event, yaml.ScalarEvent) and event.tag is None:
        if event.value == "<<" and event.implicit[0]:
            raise _Refused("merge keys (<<) are not part of YAML 1.2; write the settings out, or name a preset with base: NAME", event)
        key = _scalar(event)
        if isinstance(key, str):
            return key
        raise _Refused(f"{event.value!r} is no name of a setting; expected name: value", event)
    raise _Refused("a name of a setting is plain words; expected name: value", event)


def _scalar(event: yaml.ScalarEvent) -> Any:
    """The value of a plain scalar by the core schema, and the text of any other."""
    text = event.value
    if not event.implicit[0]:
        return _checked(event)
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text.lower() == "true"
    number = _INT.fullmatch(text) or _OTHER_INT.fullmatch(text) or _FLOAT.fullmatch(text)
    if number and len(text) > _MAX_DIGITS:
        raise _Refused(f"a number of {len(text)} characters, at most {_MAX_DIGITS} are read", event)
    if _INT.fullmatch(text):
        return int(text)
    if _OTHER_INT.fullmatch(text):
        return int(text, 0)
    if number:
        return float(re.sub(r"\.(inf|nan)", r"\1", text.lower()))
    return _checked(event)


def _checked(event: yaml.ScalarEvent) -> str:
    if (letter := control_character(event.value)) is not None:
        raise _Refused(f"the control character U+{ord(letter):04X}; plain text is allowed: take it out", event)
    return str(event.value)


class _Dumper(yaml.SafeDumper):
    """Quotes words that YAML 1.1 or the core schema of 1.2 takes for something else."""


_Dumper.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(rf"(?:{_INT.pattern}|{_OTHER_INT.pattern})\Z"), list("-+0123456789"))
_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(rf"(?:{_FLOAT.pattern})\Z"), list("-+.0123456789"))
