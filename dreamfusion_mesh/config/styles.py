"""Styles: the words that `guidance.prompt_style` puts around a prompt, as data in configs/styles/, a file each."""

from __future__ import annotations

from functools import cache

from pydantic import ValidationError, field_validator

from dreamfusion_mesh.config.base import Settings, Words, check_placeholders
from dreamfusion_mesh.config.load import LONGEST_TEXT, presets_folder
from dreamfusion_mesh.config.yaml_text import read_yaml
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.files import read_text


class Style(Settings):
    """What a style makes of the prompts; each of the first two has {prompt}, for which the words stand that it is put around."""

    words: Words
    """Of the prompt itself."""
    textureless: Words
    """Of the prompt of grey clay views, which have a shape and no colour."""
    negative: Words = ""
    """What guidance goes away from, after the negative prompt."""

    @field_validator("words", "textureless")
    @classmethod
    def _around_the_prompt(cls, words: str) -> str:
        check_placeholders(words, ("prompt",))
        if "{prompt}" not in words:
            raise ValueError("has no {prompt}, in whose place the prompt is put")
        return words

    def added_words(self) -> str:
        """All that it adds to prompts and to the negative prompt."""
        return ", ".join([self.words.format(prompt=""), self.textureless.format(prompt=""), self.negative])


_NO_STYLE = Style(words="{prompt}", textureless="{prompt}")


@cache
def read_style(name: str) -> Style:
    """The style of a name that `guidance.prompt_style` takes. Raises BadInput in one line where its file is missing or is no style."""
    if name == "none":
        return _NO_STYLE
    where = f"style {name!r}"
    try:
        return Style.model_validate(read_yaml(read_text(presets_folder() / "styles" / f"{name}.yaml", LONGEST_TEXT, where), where))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise BadInput(f"{where}: {'.'.join(map(str, first['loc']))}: {first['msg'].removeprefix('Value error, ')}") from None
