"""A run in a process of its own, which kills itself where it is told to: MODEL DATA OUT METHOD MOMENT
[TEACHER].

MOMENT: how many of the calls below pass before the process dies without warning; -1: none.
"""

import os
import signal
import sys
from pathlib import Path

from divebell.tune import run, state
from divebell.tune.model import use_threads
from divebell.tune.optimizer import Optimizer
from divebell.tune.settings import Settings

STEPS = 8


def main(model: str, data: str, out: str, method: str, moment: str, teacher: str | None = None) -> None:
    use_threads(1)
    left = int(moment)

    def passed(function):
        def counted(*arguments, **options):
            nonlocal left
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
            return function(*arguments, **options)

        return counted

    for module, name in ((run, "save_state"), (state, "save_file"), (Optimizer, "step"), (os, "replace")):
        setattr(module, name, passed(getattr(module, name)))
    further = {"group": 4, "answer_tokens": 4} if method == "grpo" else {}
    settings = Settings(steps=STEPS, batch=4, context=64, pack=64, rank=4, rate=3e-3, teacher=teacher, **further)
    for _ in run.Run(method, model, Path(data), settings, save_seconds=0).train(Path(out)):
        pass


if __name__ == "__main__":
    main(*sys.argv[1:])
