"""What a client is told of its answers."""

import asyncio

import pytest

from divebell.serve.job import Job, Update
from divebell.serve.refusal import Refusal


async def news_of(job):
    return [news async for news in job.updates()]


def test_pieces_that_wait_are_joined():
    async def told():
        job = Job([None])
        for update in (Update("a"), Update("b"), Update("c", finish_reason="stop")):
            job.put(0, update)
        return await news_of(job)

    assert asyncio.run(told()) == [(0, Update("abc", finish_reason="stop"))]


def test_a_refusal_ends_it_whatever_comes_after():
    async def told():
        job = Job([None, None])
        job.refuse(Refusal(503, "not now"))
        for index in (0, 1):
            job.put(index, Update("late", finish_reason="stop"))
        return await news_of(job)

    with pytest.raises(Refusal, match="not now"):
        asyncio.run(told())
