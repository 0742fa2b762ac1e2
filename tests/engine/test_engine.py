"""What threads do to one engine while another's step runs."""

from threading import Thread


def test_a_stream_closed_by_another_thread_leaves_nothing_on_an_idle_engine(llm):
    stream = llm.stream([4, 5], max_tokens=100)
    next(stream)
    compute = llm.core.model.step

    def closed_meanwhile(batch, cache):
        closing = Thread(target=stream.close)
        closing.start()
        closing.join()
        return compute(batch, cache)

    llm.core.model.step = closed_meanwhile
    assert len(list(stream)) <= 1
    assert llm.engine.state()["running"] == 0
    assert llm.core.tree.available == 64
    llm.core.check_integrity()
