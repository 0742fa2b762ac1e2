import httpx
import pytest

HELLO = [{"role": "user", "content": "Hello"}]


@pytest.fixture
def post(server):
    return lambda path, **body: httpx.post(f"{server.url}{path}", json={"model": "small", **body})


def test_a_text_becomes_tokens_and_text_again(server, post):
    tokenizer = server.service.models["small"].llm.tokenizer
    told = post("/tokenize", prompt="Once é", return_token_strs=True).json()
    assert told["tokens"] == tokenizer.encode("Once é")
    assert (told["count"], told["max_model_len"]) == (len(told["tokens"]), 4096)
    assert len(told["token_strs"]) == told["count"]
    assert post("/detokenize", tokens=told["tokens"]).json() == {"prompt": "Once é"}


def test_a_conversation_counts_as_it_will_be_read(client, post):
    count = post("/tokenize", messages=HELLO).json()["count"]
    asked = client.chat.completions.create(model="small", messages=HELLO, max_tokens=1)
    assert asked.usage.prompt_tokens == count


@pytest.mark.parametrize(
    ("path", "fields", "says"),
    [
        ("/tokenize", {}, "give either it or messages"),
        ("/tokenize", {"prompt": "a", "messages": HELLO}, "give either it or messages"),
        ("/tokenize", {"prompt": "a", "more": 1}, "more: this field is not known here"),
        ("/tokenize", {"prompt": "a", "model": "large"}, "there is no model 'large'"),
        ("/detokenize", {"tokens": [512]}, "tokens: 512 is not in the vocabulary, which is 0 to 511"),
        ("/detokenize", {"tokens": ["a"]}, "tokens[0]"),
    ],
)
def test_what_can_t_be_honoured_is_refused(post, path, fields, says):
    answer = post(path, **fields)
    assert answer.status_code in (400, 404)
    assert says in answer.json()["error"]["message"]
