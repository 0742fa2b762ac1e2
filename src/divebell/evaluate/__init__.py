"""How good a model is: benchmarks as lm-eval defines them, and programs that it writes, run in a sandbox."""
