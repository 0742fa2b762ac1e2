"""Which sentence does the model find likelier? Scores are log-probabilities of given tokens: nothing is generated."""

import divebell

sentences = ["The cat sat on the mat.", "The cat sat on the moon.", "Mat the on sat cat the."]
with divebell.load("smollm2-135m") as llm:
    for sentence in sentences:
        score = llm.score(llm.tokenizer.encode(sentence))
        print(f"{score.mean():8.3f} per token   {sentence}")
