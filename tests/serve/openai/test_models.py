import openai
import pytest


def test_models_are_listed(client):
    assert [model.id for model in client.models.list()] == ["small", "base"]
    assert client.models.retrieve("base").owned_by == "divebell"


def test_an_unknown_one_is_named(client):
    with pytest.raises(openai.NotFoundError, match="there is no model 'org/large'; served here: small, base"):
        client.models.retrieve("org/large")


def test_embeddings_are_refused_by_name(client):
    with pytest.raises(openai.BadRequestError, match="/v1/embeddings is not served"):
        client.embeddings.create(model="small", input="x")
