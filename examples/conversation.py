"""A chat of several turns. Each turn computes only its own tokens: what came before stays in the cache."""

import divebell

with divebell.load("smollm2-135m") as llm:
    conversation = llm.conversation(system="You answer in one sentence.")
    for question in ("What is a lighthouse?", "Who lives in one?"):
        print(">", question)
        for piece in conversation.say(question, max_tokens=60):
            print(piece.text, end="", flush=True)
        receipt = conversation.completion.receipt
        print(f"\n[{receipt.prompt_tokens} tokens of prompt, {receipt.cached_tokens} of them from earlier]")
