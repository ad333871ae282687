"""Every number has a range; what lies outside, is of another kind, or does not go with other settings is refused in one line."""

from typing import Any

import pytest
from setting_ranges import Number, all_numbers, default_of

from dreamfusion_mesh.config import RunConfig, load_config, resolve
from dreamfusion_mesh.errors import BadInput

NUMBERS = all_numbers()


def named(number: Number) -> str:
    return number.name if number.spot is None else f"{number.name}[{number.spot}]"


def refusal(*changes: str) -> str:
    """The line with which changes as the command line has them are refused."""
    with pytest.raises(BadInput) as caught:
        load_config("demo", changes)
    return checked(str(caught.value))


def refused_value(name: str, value: Any) -> str:
    """The line with which one setting's value is refused."""
    with pytest.raises(BadInput) as caught:
        resolve(nested(name, value))
    return checked(str(caught.value))


def nested(name: str, value: Any) -> dict[str, Any]:
    for part in reversed(name.split(".")):
        value = {part: value}
    return value


def checked(message: str) -> str:
    assert message.isprintable()
    assert len(message) < 300
    return message


def plain(number: float) -> str:
    """As the messages write it."""
    return str(int(number)) if number == int(number) else f"{number:.9f}".rstrip("0")


def test_every_number_has_a_lowest_and_a_highest_value() -> None:
    assert [named(number) for number in NUMBERS if number.low is None or number.high is None or not number.low < number.high] == []


def test_numbers_are_found_in_groups_spans_and_unions() -> None:
    found = {named(number): number.kind for number in NUMBERS}
    assert len(found) > 70
    assert found["seed"] is int
    assert found["coarse.field.blob_radius"] is found["fine.t_max[1]"] is found["views.distance[0]"] is float
    assert (found["audit.mip"], found["fine.threshold"]) == (int, float)


@pytest.mark.parametrize("number", NUMBERS, ids=named)
def test_what_lies_outside_is_refused_with_the_range_and_the_value(number: Number) -> None:
    for given in number.outside():
        message = refused_value(number.name, number.value(given, default_of(number.name)))
        assert message.startswith(f"{number.name}: expected ")
        assert f"from {plain(number.low)} to {plain(number.high)}" in message
        assert f"(given {given!r}" in message


NO_NUMBERS = [True, False, "words", "1", "1:30", float("nan"), float("inf"), -float("inf"), {"a": 1}, [[1]], None, 10**400, 10**23]


@pytest.mark.parametrize("number", NUMBERS, ids=named)
def test_what_is_no_number_of_the_range_is_refused(number: Number) -> None:
    default = default_of(number.name)
    for given in NO_NUMBERS if default is not None else [given for given in NO_NUMBERS if given is not None]:  # None: no limit
        assert refused_value(number.name, number.value(given, default)).startswith(f"{number.name}: expected ")


@pytest.mark.parametrize(
    "text", ["1:30", "true", "words", "'1'", "99999999999999999999999", "1e23", ".inf", "", "1e999", "2024-05-01", "0b11"]
)
def test_what_yaml_takes_for_no_whole_number_is_refused(text: str) -> None:
    for name in ("seed", "coarse.steps"):
        assert refusal(f"{name}={text}").startswith(f"{name}: expected a whole number from ")


@pytest.mark.parametrize(("text", "number"), [("010", 10), ("1e2", 100), ("12.0", 12), ("0x10", 16), ("+7", 7), ("1.5e2", 150)])
def test_a_whole_number_may_be_written_in_other_ways(text: str, number: int) -> None:
    found = load_config("smoke", [f"coarse.steps={text}", f"seed={text}"])
    assert (found.coarse.steps, found.seed) == (number, number)
    assert type(found.coarse.steps) is int


@pytest.mark.parametrize("number", [number for number in NUMBERS if number.kind is int], ids=named)
def test_a_whole_number_has_no_fraction(number: Number) -> None:
    assert "expected a whole number" in refused_value(number.name, number.low + 0.5)


@pytest.mark.parametrize(
    "name", ["commercial", "licence_checked", "guidance.multiview", "guidance.half_precision", "guidance.view_words", "views.one_orbit"]
)
def test_only_true_and_false_are_truth_values(name: str) -> None:
    for given in (1, 0, 1.0, "yes", "no", "on", "off", "true", [], None):
        message = refused_value(name, given)
        assert message.startswith(f"{name}: expected true or false (given ")
        assert message.endswith("in YAML 1.2 yes, no, on and off are words") == isinstance(given, str)


@pytest.mark.parametrize("name", ["prompt", "guidance.model", "guidance.negative_prompt", "guidance.textureless_words"])
def test_words_are_words(name: str) -> None:
    for given in (123, True, 1e2, None, ["a"], {"a": "b"}, "x" * 10001):
        message = refused_value(name, given)
        assert message.startswith(f"{name}: expected words, at most 10000 characters (given ")
        assert ("quote such words for YAML" in message) == (not isinstance(given, list | dict | str))


def test_words_that_look_like_another_value_are_taken_in_quotes() -> None:
    assert load_config("demo", ["prompt='123'"]).prompt == "123"
    assert load_config("demo", ["prompt=no", "guidance.negative_prompt=''"]).prompt == "no"


TOGETHER = {
    ("coarse.field.coarsest=512", "coarse.field.finest=2"): "coarse.field: finest is at least coarsest (given coarsest 512, finest 2)",
    ("coarse.field.coarsest=97",): "finest is at least coarsest (given coarsest 97, finest 96)",
    (
        "coarse.views=64",
        "coarse.size=1024",
        "coarse.samples=32",
    ): "2147483648 samples a step (views * size^2 * samples), at most 2147483647",
    (
        "fine.t_min=[0.3, 0.7]",
    ): "fine: t_min stays below t_max at the first and at the last step (given t_min [0.3, 0.7], t_max [0.9, 0.7])",
    ("guidance.t_max=[0.02, 0.7]",): "guidance: t_min stays below t_max at the first and at the last step",
    ("fine.tet_size=30", "fine.volume_subdivisions=2"): "with volume_subdivisions 2 tet_size is a multiple of 4, at least 16 (given 30)",
    ("fine.tet_size=12", "fine.volume_subdivisions=2"): "at least 16 (given 12)",
    ("views.fov_y_degrees=[60, 40]",): "views: fov_y_degrees: the first value is the lower one (given [60.0, 40.0])",
    ("views.elevation_degrees=[1, 0]",): "elevation_degrees: the first value is the lower one",
    ("views.position_jitter=0.5",): "cameras stand 1.634 to 3.566 from the middle",
    ("views.distance=[4, 7]", "views.position_jitter=1"): "expected 1.82 to 8",
    ("views.lambertian=0.6", "views.textureless=0.5"): "lambertian + textureless: at most 1 (given 0.6 + 0.5)",
    (
        "texture.size=64",
        "texture.padding=9",
    ): "texture: padding is at most an eighth of size, or a cube's six charts do not fit (given 9 and 64)",
    ("guidance.multiview=true",): "set both to 4",
    (
        "coarse.start=views",
        "coarse.steps=69",
    ): "coarse: start views: warm_start.draw_steps 20 and warm_start.image_steps 50 are among steps: set steps to 70 or more (given 69)",
    (
        "coarse.start=views",
        "guidance.loss=clip",
        "guidance.perp_neg=0",
    ): "coarse.start views: guidance.loss clip has no diffusion model that draws; set coarse.start=sphere",
    (
        "coarse.start=views",
        "coarse.warm_start.t_max=[0.9, 0.02]",
    ): "guidance.t_min stays below coarse.warm_start.t_max at the first and at the last step (given [0.02, 0.02] and [0.9, 0.02])",
    ("guidance.loss=clip", "guidance.perp_neg=0", "guidance.blend_view_words=true"): "loss clip has no text that could be blended",
    (
        "guidance.perp_neg=0",
        "guidance.view_words=false",
        "guidance.blend_view_words=true",
    ): "view_words is false: set blend_view_words=false",
    ("guidance.loss=csd", "guidance.rescale=0.5"): "guidance: loss csd has no guided prediction that could be rescaled: set rescale=0",
    (
        "guidance.view_words=false",
        "guidance.perp_neg=1",
    ): "guidance: perp_neg keeps away from other views' words, and view_words is false (given perp_neg 1)",
}


@pytest.mark.parametrize("changes", TOGETHER)
def test_settings_that_do_not_go_together_are_refused(changes: tuple[str, ...]) -> None:
    assert TOGETHER[changes] in refusal(*changes)


@pytest.mark.parametrize(
    "changes",
    [
        ["asset.longest_side=180", "guidance.scale=100", "guidance.weighting=one_minus_alpha_bar"],  # centimetres; larger models
        ["asset.longest_side=20000", "texture.size=4096", "texture.padding=16", "mesh.triangles=1000000"],
        ["coarse.size=512", "coarse.views=1", "coarse.samples=512", "coarse.field.levels=16"],  # ProlificDreamer's
        ["coarse.steps=25000", "fine.steps=15000", "fine.size=512", "fine.tet_size=256", "guidance.scale=200"],
        ["views.distance=[7, 7.6]", "views.fov_y_degrees=[15, 20]"],  # as narrow as MVDream's
        ["coarse.learning_rate=1e-2", "fine.deform_learning_rate=0", "coarse.checkpoint_seconds=3600"],
        ["guidance.multiview=true", "coarse.views=4", "fine.views=4"],
        ["coarse.start=views", "coarse.steps=70"],
        ["fine.threshold=10", "audit.mip=2", "texture.unwrap_seconds=3600"],
    ],
    ids=str,
)
def test_what_real_runs_use_is_taken(changes: list[str]) -> None:
    assert load_config("default", changes) != load_config("default")


def test_the_defaults_lie_inside() -> None:
    assert RunConfig.model_validate(RunConfig().model_dump()) == RunConfig()
