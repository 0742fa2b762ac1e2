"""Print a text as it comes, and stop when there is enough of it: closing the stream frees its memory."""

import divebell

with divebell.load("smollm2-135m") as llm, llm.stream("A short list of rivers:", temperature=0.0) as pieces:
    lines = 0
    for piece in pieces:
        print(piece, end="", flush=True)
        lines += piece.count("\n")
        if lines >= 5:
            break
print()
