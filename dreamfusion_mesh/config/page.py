"""The page that lists every setting (docs/SETTINGS.md), from the models themselves: ranges, defaults, and the words below each field."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from functools import cache

from pydantic import BaseModel

from dreamfusion_mesh.config.messages import allowed, nearest, setting_schemas, shown
from dreamfusion_mesh.config.run import RunConfig
from dreamfusion_mesh.config.yaml_text import write_value
from dreamfusion_mesh.errors import BadInput

_WIDTH = 120  # characters of a line
_TITLE = "# Settings"
_INTRODUCTION = """\
Each is changed by `--set NAME=VALUE`, by a preset's file or by a column of a batch's table. This page is what `dreamfusion-mesh settings`
prints; `dreamfusion-mesh settings NAME` prints one of them or a group. After the name come the default and what is allowed."""


def settings_page(name: str | None = None) -> str:
    """Markdown of every setting, or of the one or the group that has that dotted name. Raises BadInput where none has."""
    if name is None:
        sections = [_section(group, model) for group, model in _groups(RunConfig, "")]
        return "\n\n".join([_TITLE, _filled(_INTRODUCTION), *sections]) + "\n"
    groups = {group: model for group, model in _groups(RunConfig, "") if group}
    if name in groups:
        return "\n\n".join(_section(group, model) for group, model in groups.items() if f"{group}.".startswith(f"{name}.")) + "\n"
    if name not in setting_schemas():
        others = f"; groups: {', '.join(groups)}"
        raise BadInput(f"NAME: no setting or group is called {shown(name)}{nearest(name, [*groups, *setting_schemas()], others)}")
    group, _, field = name.rpartition(".")
    return f"{_entry(group, groups.get(group, RunConfig), field)}\n"


@cache
def descriptions(model: type[BaseModel]) -> dict[str, str]:
    """What is written below each field of a group of settings, also of the group that it extends, as one line."""
    found: dict[str, str] = {}
    for kind in reversed(model.__mro__):
        if issubclass(kind, BaseModel) and kind is not BaseModel:
            body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
            assert isinstance(body, ast.ClassDef)
            for field, below in zip(body.body, body.body[1:], strict=False):
                words = below.value if isinstance(below, ast.Expr) else None
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(words, ast.Constant):
                    found[field.target.id] = " ".join(str(words.value).split())
    return found


def _groups(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, type[BaseModel]]]:
    """Each group's dotted name and model, the one without a name first, a group's own groups after it."""
    yield prefix.removesuffix("."), model
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _groups(field.annotation, f"{prefix}{name}.")


def _section(group: str, model: type[BaseModel]) -> str:
    title = f"## {group}" if group else "## Of a run"
    about = _filled(_linked(inspect.cleandoc(model.__doc__ or "")))
    names = [name for name, field in model.model_fields.items() if not _is_group(field.annotation)]
    return "\n".join([title, "", about, "", *(_entry(group, model, name) for name in names)])


def _entry(group: str, model: type[BaseModel], name: str) -> str:
    full = f"{group}.{name}" if group else name
    schema = setting_schemas()[full]
    takes = allowed(schema).split(", such as [")[0]
    default = write_value(schema["default"]) if schema.get("default") is not None else "null"
    return _filled(f"- `{full}` = `{default}`; {takes}. {_linked(descriptions(model).get(name, ''))}", "  ")


def _is_group(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _filled(text: str, below: str = "") -> str:
    """Lines of at most _WIDTH characters; a number or an address is never parted."""
    return textwrap.fill(" ".join(text.split()), _WIDTH, subsequent_indent=below, break_long_words=False, break_on_hyphens=False)


def _linked(text: str) -> str:
    """Each arXiv number with its address."""
    return re.sub(r"arXiv:(\d{4}\.\d{5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", text)
