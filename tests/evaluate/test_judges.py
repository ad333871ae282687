"""Who may judge: any CLIP, but not the one that guided."""

import pytest

from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.evaluate.judges import SHIPPED, judge_digests, load_judge, refuse_guides
from dreamfusion_mesh.guidance.weights.folder import fingerprint


def test_the_shipped_judge_is_a_folder_as_any_other(judge):
    assert judge.size == 64
    assert judge_digests(judge) == {fingerprint(file) for file in SHIPPED.rglob("*.safetensors")}
    assert judge_digests(load_judge(str(SHIPPED), "cpu")) == judge_digests(judge)


@pytest.mark.parametrize("name", ["nowhere", "openai/clip-vit-large-patch14"])
def test_a_judge_that_is_missing_is_told_in_a_line(name):
    with pytest.raises(BadInput) as error:
        load_judge(name, "cpu")
    assert len(error.value.lines) == 1
    assert "judge" in str(error.value)
    assert "--judge" in str(error.value)


def test_a_judge_that_guided_a_run_is_refused(judge):
    digest = fingerprint(SHIPPED / "image" / "model.safetensors")
    others = {
        "a": {"files": {"unet/model.safetensors": "0" * 64}},
        "b": {"model": "embedded"},
        "c": {"files": None},
        "d": {"files": {"unet": [digest]}},
    }
    refuse_guides(judge, others)
    with pytest.raises(BadInput, match=r"its weights guided the run assets/mug .*image/model\.safetensors.*--judge") as error:
        refuse_guides(judge, {**others, "assets/mug": {"files": {"clip/image/model.safetensors": digest}}})
    assert len(error.value.lines) == 1
