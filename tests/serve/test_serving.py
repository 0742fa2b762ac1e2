"""The measures of a server, on a small model."""

import asyncio

import pytest
from servers import small_model

import divebell
import serving
from serving_client import Answer, Client
from serving_measures import Agent, Measures
from soak_server import Server


async def measured(folder, place, tokenizer):
    server, client = (
        Server([f"small={folder}", "--ram", "700MB", "--kv-dir", str(place / "kv")], 5, place),
        Client("small"),
    )
    measures = Measures(server, client, tokenizer, 1)
    try:
        await measures.start()
        return {
            "throughput": await measures.throughput(8, 1),
            "first_token": await measures.first_token(600),
            "beside": await measures.beside(600, 1, 0),
            "turns": await measures.turns(10, 6),
        }
    finally:
        server.end()
        await client.http.aclose()


@pytest.mark.slow
def test_only_what_was_never_seen_is_computed_and_all_is_told(tmp_path):
    folder = small_model(tmp_path / "small")
    with divebell.load(folder, ram="700MB") as llm:
        found = asyncio.run(measured(folder, tmp_path, llm.tokenizer))
    turns = found["turns"]
    assert turns["computed"] == turns["new"] == turns["by_metrics"] < turns["prompt"]
    assert all(turn["computed"] == turn["new"] for turn in turns["each"])
    machine = {"date": "", "processor": "", "cores": 2, "isa": "", "read_gb_per_s": 1.0, "divebell": ""}
    table = serving.markdown({"small": found | {"machine": machine}})
    assert f"| small | prompt tokens computed in 10 turns that grow and branch, of {turns['prompt']:,} |" in table
    assert "| small | 16 at once, 8 tokens each |" in table


class Bytes:
    """A tokenizer whose tokens are bytes."""

    def encode(self, text):
        return list(text.encode())


def test_what_an_answer_or_another_branch_began_with_is_not_new():
    from random import Random

    agent = Agent(Bytes(), Random(1), 1000)
    assert agent.new("abcd") == 4
    agent.answered("abcd", "xyz", list(b"xyz"))
    assert agent.new("abcd") == 1
    assert agent.new("abcdxy!") == 1
    assert agent.new("abcdxyz!") == 2, "the last token of an answer has not been computed"
    assert agent.new("abXY") == 2


def test_the_time_of_a_token_is_that_from_the_one_before():
    answer = Answer()
    answer.pieces = [(1.0, 1), (2.0, 1), (4.0, 4), (9.0, 1)]
    assert answer.between(1.5, 8.0) == [0.5] * 4
    assert answer.between(0.0, 9.0) == [1.0, *[0.5] * 4, 5.0]
