import openai
import pytest
from openai import AsyncOpenAI
from servers import CONFIG, together

ASK = {"model": "base", "prompt": "Once upon a time", "max_tokens": 10, "temperature": 0}


@pytest.fixture(scope="module")
def llm(server):
    return server.service.models["base"].llm


@pytest.fixture(scope="module")
def direct(llm):
    return llm.generate(ASK["prompt"], max_tokens=10)


def test_a_continuation_is_the_engine_s(client, direct):
    answer = client.completions.create(**ASK)
    assert answer.choices[0].text == direct.text
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.prompt_tokens == direct.usage.prompt_tokens
    assert answer.object == "text_completion"


def test_sixteen_tokens_by_default(client):
    assert (
        client.completions.create(model="base", prompt="x", extra_body={"ignore_eos": True}).usage.completion_tokens
        == 16
    )


def test_a_stream_joins_to_the_same(client, direct):
    options = {"stream": True, "stream_options": {"include_usage": True}}
    chunks = list(client.completions.create(**ASK, **options))
    assert "".join(c.choices[0].text for c in chunks[:-1]) == direct.text
    assert chunks[-2].choices[0].finish_reason == "length"
    assert chunks[-1].usage.completion_tokens == 10


def test_prompts_may_be_texts_or_tokens_one_or_many(client, llm, direct):
    ids = llm.tokenizer.encode(ASK["prompt"])
    other = llm.generate("Another", max_tokens=10).text
    for prompt in ([ASK["prompt"], "Another"], [ids, llm.tokenizer.encode("Another")]):
        answer = client.completions.create(**ASK | {"prompt": prompt})
        assert [choice.text for choice in answer.choices] == [direct.text, other]
        assert answer.usage.prompt_tokens == len(ids) + len(llm.tokenizer.encode("Another"))
    for prompt in (ids, [ASK["prompt"]]):
        assert client.completions.create(**ASK | {"prompt": prompt}).choices[0].text == direct.text


def test_several_answers_to_several_prompts_come_prompt_by_prompt(client):
    options = {"temperature": 1, "seed": 5}
    answer = client.completions.create(**ASK | {"prompt": ["a", "b"]} | options, n=2)
    alone = [
        client.completions.create(**ASK | {"prompt": prompt} | options | {"seed": seed}).choices[0].text
        for prompt in "ab"
        for seed in (5, 6)
    ]
    assert [choice.text for choice in answer.choices] == alone


def test_the_prompt_is_echoed(client, direct):
    assert client.completions.create(**ASK, echo=True).choices[0].text == ASK["prompt"] + direct.text
    chunks = list(client.completions.create(**ASK, echo=True, stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == ASK["prompt"] + direct.text


def test_log_probabilities_come_in_lists(client, llm):
    direct = llm.generate(ASK["prompt"], max_tokens=10, logprobs=3)
    logprobs = client.completions.create(**ASK, logprobs=3).choices[0].logprobs
    assert logprobs.token_logprobs == pytest.approx([one.logprob for one in direct.logprobs], abs=1e-5)
    assert [max(top, key=top.get) for top in logprobs.top_logprobs] == logprobs.tokens
    assert len(logprobs.text_offset) == 10
    chunks = list(client.completions.create(**ASK, logprobs=3, stream=True))
    streamed = [c.choices[0].logprobs for c in chunks if c.choices[0].logprobs]
    assert [token for part in streamed for token in part.tokens] == logprobs.tokens
    assert [offset for part in streamed for offset in part.text_offset] == logprobs.text_offset


@pytest.mark.parametrize("prompt", ["é🤷🏽 x", " x"])
def test_a_token_s_place_is_that_of_its_text(client, llm, prompt):
    last = llm.tokenizer.token_text(llm.tokenizer.encode(prompt)[-1])
    answer = client.completions.create(**ASK | {"prompt": prompt, "max_tokens": 2}, echo=True, logprobs=0)
    *of_prompt, first, second = answer.choices[0].logprobs.text_offset
    assert of_prompt[-1] == len(prompt) - len(last)
    assert first == len(prompt)
    alone = client.completions.create(**ASK | {"prompt": prompt, "max_tokens": 2}, logprobs=0)
    assert alone.choices[0].logprobs.text_offset == [0, second - first]


def test_a_mark_in_front_of_a_prompt_has_no_place(client, llm, monkeypatch):
    encode = llm.encode
    monkeypatch.setattr(llm, "encode", lambda text: [CONFIG["bos_token_id"], *encode(text)])
    answer = client.completions.create(**ASK | {"prompt": "ab", "max_tokens": 1}, echo=True, logprobs=0)
    assert answer.choices[0].logprobs.text_offset[:2] == [0, 0]
    assert answer.choices[0].logprobs.text_offset[-1] == 2


def test_answers_come_async(server, direct):
    async def streamed():
        async with AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none") as client:
            return "".join([c.choices[0].text async for c in await client.completions.create(**ASK, stream=True)])

    assert together(streamed(), streamed()) == [direct.text] * 2


def test_a_middle_is_filled_in(client, monkeypatch, llm):
    """The marks of this vocabulary are ordinary characters, which tells as much."""
    marks = {"<fim_prefix>": 1, "<fim_suffix>": 2, "<fim_middle>": 3, "<file_sep>": 65}
    monkeypatch.setattr(type(llm.tokenizer), "token_id", lambda self, token: marks.get(token))
    filled = client.completions.create(**ASK, suffix=" end")
    prompt = "<fim_prefix>Once upon a time<fim_suffix> end<fim_middle>"
    expected = llm.generate(prompt, max_tokens=10, stop_ids=(65,))
    assert filled.choices[0].text == expected.text
    assert filled.usage.prompt_tokens == expected.usage.prompt_tokens


def test_an_answer_ends_with_a_token(client, direct):
    number, token = next((i, id) for i, id in enumerate(direct.token_ids) if id not in direct.token_ids[:i] and i > 1)
    answer = client.completions.create(**ASK, extra_body={"stop_token_ids": [token]})
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.completion_tokens == number + 1
    assert direct.text.startswith(answer.choices[0].text)
    assert answer.choices[0].text != direct.text


def test_as_many_tokens_as_fit(client):
    ask = {"model": "small", "prompt": [7] * 4080, "extra_body": {"ignore_eos": True}}
    assert client.completions.create(**ASK | ask | {"max_tokens": -1}).usage.completion_tokens == 16


@pytest.mark.parametrize(
    ("fields", "param", "says"),
    [
        ({"suffix": "x"}, "suffix", "this model has no tokens for filling in a middle"),
        ({"suffix": "x", "echo": True}, "suffix", "echo=true"),
        ({"suffix": "x", "prompt": [1, 2]}, "suffix", "needs a prompt that is text"),
        ({"stop_token_ids": [512]}, "stop_token_ids", "stop_token_ids has token 512; the vocabulary is 0 to 511"),
        ({"max_tokens": -2}, "max_tokens", "greater than or equal to -1"),
        ({"best_of": 3}, "best_of", "only as many as n"),
        ({"prompt": []}, "prompt", "has 0 prompts"),
        ({"prompt": ""}, "prompt", "the prompt is empty"),
        ({"prompt": [512]}, "prompt", "token id 512 is not in the vocabulary"),
        ({"prompt": [[1], []]}, "prompt", "the prompt is empty"),
        ({"prompt": [-1]}, "prompt[0]", "greater than or equal to 0"),
        ({"prompt": {"a": 1}}, "prompt", ""),
        ({"prompt": ["x"] * 129}, "prompt", "has 129 prompts; give 1 to 128"),
        ({"prompt": [7] * 5000}, None, "the prompt has 5000 tokens and at most 4095 fit"),
        ({"logprobs": 21}, "logprobs", "less than or equal to 20"),
    ],
)
def test_what_can_t_be_honoured_is_refused_by_name(client, fields, param, says):
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(**{**ASK, "extra_body": fields})
    assert caught.value.param == param
    assert says in caught.value.body["message"]
