import json

import pytest
from talks import talk

from divebell.serve.ui.export import as_json, file_name, markdown


def test_markdown_has_the_branch_that_is_shown():
    conversation = talk()
    conversation.tree.add(None, "user", "Another?")
    assert "Why?" not in markdown(conversation)
    conversation.tree.choose(conversation.tree.turns[1])
    assert markdown(conversation) == (
        "# A talk\n\nModel: small\n\n## System\n\nBe short.\n\n"
        "## You\n\nWhy?\n\n## Model\n\n### Reasoning\n\nHm.\n\nSo.\n"
    )


def test_json_has_all_of_them():
    body = json.loads(as_json(talk()))
    assert [turn["text"] for turn in body["turns"]] == ["Why?", "So."]
    assert body["turns"][1]["figures"] == {"seconds": 1.5}
    assert (body["leaf"], body["settings"]["temperature"]) == (2, 0.5)


@pytest.mark.parametrize(
    ("title", "name"),
    [("Why is it so?", "Why-is-it-so.md"), ("../../etc", "etc.md"), ("Ça va", "Ça-va.md"), ("?", "conversation.md")],
)
def test_a_file_s_name_is_one_everywhere(title, name):
    assert file_name(talk(title=title), "md") == name
