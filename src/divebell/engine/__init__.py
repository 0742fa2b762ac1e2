"""From a request to its answer: schedule, run, sample, and the cache that makes the next token cheap."""
