"""Presets, changes and flags share one merge; what is wrong is named in one line with the nearest name."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from privileges import permissions_hold
from pydantic import BaseModel

from dreamfusion_mesh.config import RunConfig, change, dump, load_config, merge, preset_names, resolve
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.run.folder import RunFolder


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_resolves_and_its_dump_reads_back_equal(name: str, tmp_path: Path) -> None:
    config = load_config(name)
    file = tmp_path / "again.yaml"
    file.write_text(dump(config))
    assert load_config(str(file)) == config


def test_the_presets_are_there() -> None:
    assert preset_names() == ["default", "demo", "quick", "smoke"]


def test_quick_is_demo_with_a_warm_start_and_half_of_the_steps() -> None:
    quick, demo = load_config("quick"), load_config("demo")
    assert quick.coarse.start == "views"
    assert quick.coarse.steps * 2 <= demo.coarse.steps
    assert quick.fine.steps * 2 <= demo.fine.steps
    steps = {"coarse": {"steps": 400, "start": "sphere"}, "fine": {"steps": 225}, "views": {"albedo_steps": 200}}
    assert merge(quick.model_dump(), steps) == demo.model_dump(), "and no more than that"


def test_later_layers_win_and_leave_their_neighbours() -> None:
    config = load_config("smoke", ["coarse.steps=7", "coarse.field.levels=3", "coarse.steps=8"], {"seed": 5})
    smoke = load_config("smoke")
    assert config.coarse.steps == 8
    assert config.coarse.field.levels == 3
    assert config.seed == 5
    assert config.coarse.field.finest == smoke.coarse.field.finest
    assert config.coarse.size == smoke.coarse.size


def test_a_preset_may_build_on_another(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("base: smoke\ncoarse:\n  steps: 99\n")
    assert load_config(str(file)) == load_config("smoke", ["coarse.steps=99"])


def test_a_circle_of_bases_is_named(tmp_path: Path) -> None:
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text(f"base: {two}\n")
    two.write_text(f"base: {one}\n")
    with pytest.raises(BadInput, match="its own base"):
        load_config(str(one))


def test_a_float_may_be_written_in_yaml_exponent_form() -> None:
    assert load_config("smoke", ["coarse.learning_rate=1e-4"]).coarse.learning_rate == 1e-4


@pytest.mark.parametrize(
    ("preset", "changes", "message"),
    [
        ("dmo", [], "preset 'dmo': no preset has that name, and a file's name ends in .yaml; did you mean 'demo'?"),
        ("zzz", [], "no preset has that name, and a file's name ends in .yaml; allowed: default, demo, quick, smoke"),
        ("nowhere.yaml", [], "cannot be read"),
        ("demo", ["coarse.stpes=3"], "coarse.stpes: unknown setting; did you mean 'steps'?"),
        ("demo", ["coarze.steps=3"], "coarze: unknown setting; did you mean 'coarse'?"),
        ("demo", ["coarse.steps=0"], "coarse.steps: expected a whole number from 1 to 1000000 (given 0)"),
        ("demo", ["coarse.steps=abc"], "coarse.steps"),
        ("demo", ["coarse.learning_rate=.nan"], "coarse.learning_rate"),
        ("demo", ["coarse.learning_rate=.inf"], "coarse.learning_rate"),
        ("demo", ["coarse=3"], "coarse"),
        ("demo", ["steps"], "expected name=value"),
        ("demo", ["=3"], "expected name=value"),
        ("demo", ["seed=[1"], "--set seed: not valid YAML (expected ',' or ']'"),
        ("demo", ["seed=&a [*a]"], "--set seed: the alias *a contains itself"),
        ("demo", ["a\nb=3"], "'a\\nb': unknown setting"),
        ("demo", [f"{'x' * 5000}=3"], f"{'x' * 60}...: unknown setting"),
        ("demo", [".".join("x" * 3000) + "=3"], "no setting has a name of 3000 parts"),
        ("demo", ["coarse.field={levels: 17}"], "coarse.field.levels: expected a whole number from 1 to 16 (given 17)"),
        ("demo", ["fine.t_max=[0.5]"], "fine.t_max: expected two numbers from 0 to 1, such as [0.9, 0.7] (given [0.5])"),
        ("demo", ["coarse.warm_start.background=[1, 1]"], "expected three numbers from 0 to 1, such as [0.8, 0.2, 0.8] (given [1, 1])"),
        ("demo", ["coarse.warm_start.background=[1, 1, 2]"], "such as [0.8, 0.2, 0.8] (given 2 as the third)"),
        ("demo", ["fine.t_max=[0.5, x]"], "such as [0.9, 0.7] (given 'x' as the second)"),
        ("demo", ["fine.threshold=none"], "fine.threshold: expected a number from 0.000001 to 160000 or auto (given 'none')"),
        ("demo", ["coarse="], "coarse: expected settings (name: value) (given nothing)"),
        ("demo", ["prompt=123"], "(given 123); quote such words for YAML: --set \"prompt='123'\""),
        ("demo", ["guidance.t_max=[2, 1]"], "t_max"),
        ("demo", ["guidance.t_min=[0.9, 0.9]"], "t_min stays below t_max"),
        ("demo", ["views.distance=[3, 2]"], "the first value is the lower one"),
        ("demo", ["texture.size=1000"], "texture.size: expected one of 64, 128, 256, 512, 1024, 2048, 4096 (given 1000)"),
        ("demo", ["raster.backend=magic"], "raster.backend: expected one of auto, warp, nvdiffrast, kaolin (given 'magic')"),
        ("demo", ["guidance.multiview=true", "coarse.views=4"], "coarse.views 4 and fine.views 2: set both to 4"),
    ],
)
def test_bad_settings_are_named_in_one_line(preset: str, changes: list[str], message: str) -> None:
    with pytest.raises(BadInput) as caught:
        load_config(preset, changes)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


PLACEHOLDERS = ["{colour}", "{}", "{0}", "{subject.__class__}", "{subject!r}", "{subject:>9}", "{subject", "subject}", "{a\nb}"]


@pytest.mark.parametrize("words", PLACEHOLDERS)
def test_placeholders_but_subject_and_prompt_are_refused(words: str) -> None:
    with pytest.raises(BadInput, match=r"^guidance\.textureless_words: .*allowed are \{subject\} and \{prompt\}") as caught:
        resolve({"guidance": {"textureless_words": words}})
    assert str(caught.value).isprintable()


def test_views_are_kept_apart_by_words_or_by_cameras() -> None:
    together = ["guidance.multiview=true", "coarse.views=4", "fine.views=4", "guidance.view_words=false"]
    assert load_config("demo", together).guidance.perp_neg == 1
    assert not load_config("demo", ["guidance.view_words=false", "guidance.perp_neg=0"]).guidance.view_words


def test_a_multi_view_step_has_four_views() -> None:
    assert load_config("demo", ["guidance.multiview=true", "coarse.views=4", "fine.views=4"]).guidance.multiview


NO_SETTINGS = [
    "[1, 2]",
    "just words",
    "3: 4",
    "a: [",
    "!!python/object/apply:os.getcwd []",
    "a: &a {<<: *a}",
    "[" * 3000,
    "seed: 1\nseed: 2",
]
NO_SETTINGS += [
    "base: 3",
    "base: [demo]",
    'base: "x\\0.yaml"',
    "seed: 1\n---\nseed: 2",
    "seed: 010x",
    "coarse:\n  steps: true",
    "#" * 10**6,
]


@pytest.mark.parametrize("text", NO_SETTINGS, ids=lambda text: text[:30])
def test_a_file_that_holds_no_settings_is_refused_in_one_line(text: str, tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(text)
    readers: dict[str, Callable[[], object]] = {
        f"preset {str(file)!r}": lambda: load_config(str(file)),
        str(file): RunFolder(tmp_path).config,
    }
    for start, read in readers.items():
        with pytest.raises(BadInput) as caught:
            read()
        assert str(caught.value).startswith(start)
        assert str(caught.value).isprintable()


def test_a_preset_is_read_by_the_core_schema_and_may_repeat_values(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "base: smoke\nprompt: no\nseed: 010\ncoarse: {steps: 1e2, learning_rate: &rate 1e-4}\nfine: {sdf_learning_rate: *rate}\n"
    )
    found = load_config(str(file))
    assert (found.prompt, found.seed, found.coarse.steps) == ("no", 10, 100)
    assert found.coarse.learning_rate == found.fine.sdf_learning_rate == 1e-4


def test_a_bad_preset_file_is_blamed_by_name(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("coarse:\n  steps: -1\n")
    with pytest.raises(BadInput, match=r"bad.yaml.*coarse\.steps"):
        load_config(str(file))


def test_settings_cannot_be_changed_in_place() -> None:
    config = RunConfig()
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 3  # type: ignore[misc]


def test_merge_leaves_its_arguments_alone() -> None:
    base, over = {"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}
    assert merge(base, over) == {"a": {"b": 3, "c": 2}}
    assert base == {"a": {"b": 1, "c": 2}}


def test_change_keeps_to_its_groups() -> None:
    config = load_config("smoke")
    wanted = merge(config.model_dump(), {"texture": {"size": 512}, "device": "cpu"})
    assert change(config, ["texture.size=512"], "cpu", ["texture"]) == resolve(wanted)
    with pytest.raises(BadInput, match="only settings of texture may change"):
        change(config, ["coarse.steps=3"], None, ["texture"])


def all_settings(model: type[BaseModel], prefix: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found |= all_settings(field.annotation, f"{prefix}{name}.")
        else:
            found[prefix + name] = field.default
    return found


def test_no_setting_is_dead() -> None:
    """Every setting's name is read somewhere in the package outside config.py."""
    package = Path(__file__).parents[1] / "dreamfusion_mesh"
    source = "".join(file.read_text(encoding="utf-8") for file in package.rglob("*.py") if file.name != "config.py")
    unread = [name for name in all_settings(RunConfig) if f".{name.split('.')[-1]}" not in source]
    assert not unread


def test_a_preset_that_cannot_be_read_is_named_by_its_cause_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"seed: 1  # \xff")
    (tmp_path / "closed").mkdir(0o600)
    (tmp_path / "long.yaml").write_bytes(b"# " * 2**20)
    causes = {
        "pipe.yaml": "is a pipe; name a regular file",
        "long.yaml": f"{2**21} bytes, more than the {2**20} that are read",
        "bytes.yaml": "cannot be read (byte 11 is not UTF-8 text); write it as UTF-8",
        "closed/a.yaml": f"cannot be read (you may not enter the folder {tmp_path}/closed); change its permissions, or name another place",
        "none/a.yaml": f"cannot be read (there is no folder {tmp_path}/none); check the path",
        os.fsdecode(b"caf\xe9.yaml"): f"the path {tmp_path}/caf\\xe9.yaml is not UTF-8; rename it",
    }
    with permissions_hold():
        for name, cause in causes.items():
            named = [load_config, lambda preset: load_config(base(tmp_path, preset))]  # a file's text can name no path that is not UTF-8
            for load in named[: 1 + name.isascii()]:
                with pytest.raises(BadInput) as caught:
                    load(str(tmp_path / name))
                assert str(caught.value) == f"preset {str(tmp_path / name)!r}: {cause}"


def base(folder: Path, preset: str) -> str:
    """A preset that is based on `preset`."""
    (folder / "other.yaml").write_text("base: " + json.dumps(preset))
    return str(folder / "other.yaml")
