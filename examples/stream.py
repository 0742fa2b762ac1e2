"""Print a text as it comes, and stop when there is enough of it: closing the stream frees its memory."""

import divebell

prompt, wanted = "The months of the year:\n1. January\n2. February\n3.", 10
print(prompt, end="")
with divebell.load("smollm2-135m") as llm, llm.stream(prompt, max_tokens=80) as pieces:
    lines = 0
    for piece in pieces:
        print(piece, end="", flush=True)
        lines += piece.count("\n")
        if lines >= wanted:
            break
print()
