"""Continue a text, and see what it took."""

import divebell

with divebell.load("smollm2-135m") as llm:
    answer = llm.generate("The three primary colours are", max_tokens=24, temperature=0.7, top_p=0.9, seed=1)
    print(answer.text)
    print(f"{answer.usage.completion_tokens} tokens at {answer.receipt.tokens_per_second:.0f}/s")
