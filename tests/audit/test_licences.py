"""Which licences hold: by statement, by text, by the model's name; distills stand under their base's too."""

import pytest

from divebell.audit.licences import terms_of


@pytest.mark.parametrize(
    ("name", "licences", "base"),
    [
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", ["MIT", "Apache-2.0"], "Qwen2.5-Math"),
        ("DeepSeek-R1-Distill-Qwen-32B-Q4_K_M.gguf", ["MIT", "Apache-2.0"], "Qwen2.5"),
        ("DeepSeek R1 Distill Llama 8B", ["MIT", "Llama-3.1"], "Llama-3.1-8B"),
        ("DeepSeek-R1-Distill-Llama-70B", ["MIT", "Llama-3.3"], "Llama-3.3-70B-Instruct"),
        ("deepseek-ai/DeepSeek-R1", ["MIT"], None),
        ("DeepSeek-V3-0324", ["MIT"], None),
        ("DeepSeek-V3.1-Terminus", ["MIT"], None),
        ("DeepSeek-V4-Flash", ["MIT"], None),
        ("deepseek-ai/DeepSeek-V3", ["DeepSeek-Model-1.0"], None),
        ("DeepSeek-V2-Lite-Chat", ["DeepSeek-Model-1.0"], None),
        ("Meta-Llama-3-8B-Instruct", ["Llama-3"], None),
        ("Llama-3.1-8B", ["Llama-3.1"], None),
        ("Mistral-7B-Instruct-v0.3", ["Apache-2.0"], None),
        ("something-else", [], None),
    ],
)
def test_by_the_models_name(name, licences, base):
    terms = terms_of([name], {}, None)
    assert [licence.id for licence in terms.licences] == licences
    assert terms.base == base
    assert terms.finding.state == ("note" if licences else "not checked")


@pytest.mark.parametrize(
    ("stated", "state"),
    [("mit", "passed"), ("apache-2.0", "passed"), ("llama3.1", "warning"), ("no-such-licence", "warning")],
)
def test_a_statement_is_held_against_the_name(stated, state):
    assert terms_of(["DeepSeek-R1-Distill-Qwen-7B"], {"README.md": stated}, None).finding.state == state


@pytest.mark.parametrize(
    ("text", "id"),
    [
        ("MIT License\n\nPermission is hereby granted, free of charge, to any person", "MIT"),
        ("Modified MIT License\n\nPermission is hereby granted, free of charge", "Kimi-K2"),
        ("DEEPSEEK LICENSE AGREEMENT\n\nVersion 1.0", "DeepSeek-Model-1.0"),
        (" LLAMA 3.1 COMMUNITY LICENSE AGREEMENT", "Llama-3.1"),
    ],
)
def test_by_the_text_in_the_folder(tmp_path, text, id):
    (tmp_path / "LICENSE").write_text(text)
    terms = terms_of(["a"], {}, tmp_path)
    assert [licence.id for licence in terms.licences] == [id]
    assert terms.finding.said == f"{id} by LICENSE"


def test_an_unknown_licence_is_named():
    finding = terms_of(["a"], {"README.md": "shareware"}, None).finding
    assert finding.state == "not checked"
    assert "'shareware' by README.md" in finding.said


def test_the_codes_licence_is_not_that_of_the_weights(tmp_path):
    (tmp_path / "LICENSE-CODE").write_text("MIT License\n\nPermission is hereby granted, free of charge, to any person")
    (tmp_path / "LICENSE-MODEL").write_text("DEEPSEEK LICENSE AGREEMENT\n\nVersion 1.0")
    terms = terms_of(["DeepSeek-V3"], {}, tmp_path)
    assert [licence.id for licence in terms.licences] == ["DeepSeek-Model-1.0"]
    assert terms.finding.state == "passed"


def test_a_folder_of_licences_is_no_text(tmp_path):
    (tmp_path / "LICENSES").mkdir()
    assert terms_of(["a"], {}, tmp_path).finding.state == "not checked"
