"""Several prompts at once: the weights are read once for all of them."""

import divebell

prompts = ["The capital of Italy is", "The opposite of cold is", "Two and two make", "Water boils at"]
with divebell.load("smollm2-135m") as llm:
    for prompt, answer in zip(prompts, llm.batch(prompts, max_tokens=8, stop=["\n"]), strict=True):
        print(prompt + answer.text)
