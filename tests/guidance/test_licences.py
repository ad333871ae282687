"""Licences as model cards state them: what passes with --commercial, what is refused, and what the user has to know."""

import json
import re

import pytest

from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.weights.licences import check_commercial_use, judge_card, licence_name, read_licences

PASSING = [
    "apache-2.0",
    "Apache-2.0",
    " Apache 2.0 ",
    "mit",
    "MIT",
    "bsd",
    "bsd-2-clause",
    "BSD-3-Clause",
    "cc0-1.0",
    "cc-by-4.0",
    "CC BY 4.0",
    "cc_by_3.0",
    "creativeml-openrail-m",
    "CreativeML OpenRAIL-M",
    "openrail",
    "openrail++",
    "bigscience-openrail-m",
]
REFUSED = [
    "other",
    "unknown",
    "cc-by-nc-4.0",
    "CC-BY-NC-SA-4.0",
    "cc-by-sa-4.0",
    "cc-by-nd-4.0",
    "cc",
    "gpl-3.0",
    "stabilityai-nc-research-community",
    "stabilityai-ai-community",
    "some-non-commercial-licence",
    "flux-1-dev-non-commercial-license",
    "deepfloyd-if-license",
    "llama3.1",
    "gemma",
    "apache",
    "apache-2.0-non-commercial",
    "mit-non-commercial",
    "openrail-nc",
    "not stated",
    "",
]


def _card(header, body="# A model\n"):
    return f"---\n{header}\n---\n{body}"


def _read(folder, *parts, **cards):
    for name, text in cards.items():
        owner = folder if name == "model" else folder / name
        owner.mkdir(exist_ok=True)
        (owner / "README.md").write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_licences(folder, parts)


def _refusal(licences, **more):
    with pytest.raises(BadInput) as caught:
        check_commercial_use({"model": "m", "licences": licences, **more}, False)
    message = str(caught.value)
    assert message.startswith("guidance.model 'm': refused with --commercial (")
    assert message.endswith("use --set licence_checked=true")
    assert message.isprintable()
    return message


@pytest.mark.parametrize("licence", PASSING)
def test_licences_known_to_allow_commercial_use_pass(tmp_path, licence):
    licences = _read(tmp_path, model=_card(f"license: {licence!r}"))
    assert licences[0]["commercial_use"]
    terms = check_commercial_use({"model": "m", "licences": licences}, False)
    assert bool(terms) == ("rail" in licence.lower() or "by" in licence.lower()), "terms are named where there are any"


@pytest.mark.parametrize("licence", REFUSED)
def test_any_other_licence_is_refused(tmp_path, licence):
    licences = _read(tmp_path, model=_card(f"license: {licence!r}"))
    assert not licences[0]["commercial_use"]
    assert repr(licence) in _refusal(licences) or not licence


@pytest.mark.parametrize(
    ("header", "shown"),
    [
        ("license: other\nlicense_name: flux-1-dev-non-commercial-license\nlicense_link: LICENSE.md", "flux-1-dev-non-commercial-license"),
        (
            "license: other\nlicense_name: stabilityai-ai-community\nlicense_link: https://stability.ai/license",
            "https://stability.ai/license",
        ),
        ("license: other\nlicense_name: mit", "other"),
        ("license_name: mit", "not stated"),
        ("license: mit\nlicense_name: research-only", "research-only"),
        ("license: mit\nlicense_link: https://example.org/LICENSE-Non-Commercial.md", "LICENSE-Non-Commercial.md"),
        ("license: apache-2.0\nlicense_link: https://example.org/noncommercial", "https://example.org/noncommercial"),
        ("license: openrail\nlicense_link: https://example.org/non_commercial", "https://example.org/non_commercial"),
        ("license: cc-by-4.0\nlicense_link: https://creativecommons.org/licenses/by-nc/4.0/", "licenses/by-nc/4.0/"),
        ("license: mit\nlicense_link: [LICENSE, LICENSE-NC]", "LICENSE-NC"),
        ("license: mit\nlicense_name: 7", "no text but int"),
        ("license: [mit, cc-by-nc-4.0]", "cc-by-nc-4.0"),
        ("license:\n  - apache-2.0\n  - other", "other"),
        ("license: [[mit]]", "no text but list"),
        ("license: []", "not stated"),
        ("license: {name: mit}", "no text but dict"),
        ("license: no", "its licence is 'no'"),
        ("license: true", "no text but bool"),
        ("license: 2.0", "no text but float"),
        ("license: 2024-05-01", "its licence is '2024-05-01'"),
        ("license:", "not stated"),
        ("License: mit", "not stated"),
        ("tags: [x]", "not stated"),
        ("license: &a [*a]", "not stated"),
    ],
)
def test_cards_that_state_more_or_nothing_are_refused_with_what_they_state(tmp_path, header, shown):
    assert shown in _refusal(_read(tmp_path, model=_card(header)))


@pytest.mark.parametrize("link", ["LICENSE.md", "https://example.org/commercial-use", "https://example.org/once-nccl"])
def test_a_link_that_names_no_restriction_changes_nothing(tmp_path, link):
    licences = _read(tmp_path, model=_card(f"license: mit\nlicense_link: {link}"))
    assert licences[0]["link"] == link
    assert check_commercial_use({"model": "m", "licences": licences}, False) == ()


def test_a_list_of_licences_passes_where_each_does(tmp_path):
    licences = _read(tmp_path, model=_card("license: [Apache-2.0, mit]"))
    assert licences[0]["licence"] == ["Apache-2.0", "mit"]
    assert check_commercial_use({"model": "m", "licences": licences}, False) == ()


@pytest.mark.parametrize(
    "card",
    [
        "# A model, license: mit",
        "license: mit\n",
        "---\n: [broken\n---\n",
        "---\nlicense: mit\n",
        "---\n- license: mit\n---\n",
        "---\nlicense: mit\nmore: &more {<<: *more}\n---\n",
        "---\nlicense: mit\nx: " + "[" * 600 + "\n---\n",
        "---\nlicense: mit\n\x01\n---\n",
        "---\n---\nlicense: mit\n---\n",
        "text first\n---\nlicense: mit\n---\n",
        b"---\nlicense: mit\xff\n---\n",
        "",
    ],
)
def test_a_card_that_cannot_be_read_states_no_licence(tmp_path, card):
    licences = _read(tmp_path, model=card)
    assert (licences[0]["licence"], licence_name(licences[0])) == ([], "unknown: see the model's card")
    assert "its licence is not stated" in _refusal(licences)


@pytest.mark.parametrize(
    "card",
    [
        "---\r\nlicense: mit\r\n---\r\n",
        "\ufeff---\nlicense: mit\n---\n",
        "\n\n---\nlicense: mit\n---",
        "--- \nlicense:   mit   # as we say\n--- \n",
        "---\ntitle: a --- b\nlicense: mit\n---\n---\nlicense: other\n---\n",
    ],
)
def test_metadata_is_read_whatever_the_line_ends_and_spaces(tmp_path, card):
    assert _read(tmp_path, model=card)[0]["licence"] == ["mit"]


def test_no_card_at_all_and_one_that_leads_out_of_the_folder_are_unknown(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    assert not read_licences(folder, ["unet"])[0]["commercial_use"]
    (tmp_path / "elsewhere.md").write_text(_card("license: mit"))
    (folder / "README.md").symlink_to(tmp_path / "elsewhere.md")
    assert "not stated" in _refusal(read_licences(folder, ["unet"]))
    (folder / "README.md").unlink()
    (folder / "README.md").mkdir()
    assert "not stated" in _refusal(read_licences(folder, ["unet"]))


def test_a_components_own_licence_counts_beside_the_models(tmp_path):
    cards = {"model": _card("license: apache-2.0"), "text_encoder": _card("license: cc-by-nc-4.0"), "vae": _card("license: mit")}
    licences = _read(tmp_path, "unet", "text_encoder", "vae", **cards)
    assert [licence["component"] for licence in licences] == ["model", "text_encoder", "vae"]
    message = _refusal(licences)
    assert "the licence of text_encoder/ is 'cc-by-nc-4.0'" in message
    assert not re.search(r"vae|apache-2\.0'", message)
    assert len(read_licences(tmp_path, ["unet", "vae"])) == 2, "a card in a folder that is not read does not count"


def test_every_refused_component_is_named_with_its_name_and_link(tmp_path):
    other = _card("license: other\nlicense_name: nc\nlicense_link: https://example.org/nc")
    message = _refusal(_read(tmp_path, "unet", model=other, unet=_card("license: gemma")))
    assert "its licence is 'other' with license_name 'nc' and license_link 'https://example.org/nc'" in message
    assert "the licence of unet/ is 'gemma'" in message


def test_control_characters_and_long_values_stay_in_one_printable_line(tmp_path):
    licences = _read(tmp_path, model=_card('license: "x\\e[31m\\n\\ty"\nlicense_name: ' + "z" * 5000))
    assert len(_refusal(licences)) < 700


def test_a_licence_that_the_user_checked_passes_and_is_reported(tmp_path):
    licences = _read(tmp_path, model=_card("license: gemma"))
    lines = check_commercial_use({"model": "m", "licences": licences}, True)
    assert lines == ("guidance 'm': passes with --commercial because licence_checked=true: its licence is 'gemma'",)


def test_use_restrictions_are_reported_for_the_component_that_has_them(tmp_path):
    licences = _read(tmp_path, "unet", model=_card("license: mit"), unet=_card("license: openrail++"))
    (line,) = check_commercial_use({"model": "m", "licences": licences}, False)
    assert line.startswith("guidance 'm': the licence of unet/ is 'openrail++': its use restrictions (Attachment A")


def test_the_verdict_survives_the_provenance_file(tmp_path):
    licences = _read(tmp_path, "unet", model=_card("license: mit"), unet=_card("license: gemma\nlicense_link: x"))
    again = json.loads(json.dumps(licences))
    assert again == licences
    assert _refusal(again) == _refusal(licences)


def test_provenance_with_one_licence_for_the_whole_model_is_judged_by_it():
    assert check_commercial_use({"model": "m", "licence": "Apache-2.0"}, False) == ()
    for known in ({"licence": "cc-by-nc-4.0"}, {"licence": "unknown: see the model's card"}, {}):
        _refusal([], **known)


def test_judging_a_card_records_what_it_states():
    assert judge_card("vae", {"license": "openrail", "license_link": "https://example.org"}) == {
        "component": "vae",
        "licence": ["openrail"],
        "name": None,
        "link": "https://example.org",
        "commercial_use": True,
        "terms": "its use restrictions (Attachment A of the licence) hold for whoever uses the model or what it makes",
    }
