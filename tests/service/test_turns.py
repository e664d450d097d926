"""The queue for the model."""

from __future__ import annotations

import asyncio

import pytest

from ckllm.service.errors import HttpError
from ckllm.service.turns import Turns


def run(scene: object) -> None:
    asyncio.run(asyncio.wait_for(scene, 5))  # type: ignore[arg-type]


async def ask(turns: Turns, user: str, served: list[str]) -> None:
    await turns.take(user)
    served.append(user)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_users_take_turns() -> None:
    async def scene() -> None:
        turns, served = Turns(1, 10, 10), list[str]()
        await turns.take("first")
        tasks = [asyncio.create_task(ask(turns, user, served)) for user in ("ana", "ana", "ana", "bo", "cy", "bo")]
        await settle()
        assert turns.waiting == 6
        for _ in range(6):
            turns.give_back()
            await settle()
        assert served == ["ana", "bo", "cy", "ana", "bo", "ana"]
        await asyncio.gather(*tasks)

    run(scene())


def test_the_queue_is_bounded_for_all_and_for_each() -> None:
    async def scene() -> None:
        turns, served = Turns(1, 3, 2), list[str]()
        await turns.take("x")
        tasks = [asyncio.create_task(ask(turns, user, served)) for user in ("ana", "ana", "bo")]
        await settle()
        with pytest.raises(HttpError) as one:
            await turns.take("ana")
        with pytest.raises(HttpError) as all_:
            await turns.take("cy")
        assert (one.value.status, all_.value.status) == (429, 503)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert turns.waiting == 0

    run(scene())


def test_one_that_goes_away_gives_its_turn_on() -> None:
    async def scene() -> None:
        turns, served = Turns(1, 10, 10), list[str]()
        await turns.take("x")
        leaving = asyncio.create_task(ask(turns, "ana", served))
        staying = asyncio.create_task(ask(turns, "bo", served))
        await settle()
        turns.give_back()  # it is ana's turn now, and she goes before she hears of it
        leaving.cancel()
        await settle()
        assert served == ["bo"]
        await staying
        turns.give_back()
        assert turns.taken == 0

    run(scene())


def test_one_that_waits_too_long_is_sent_away_and_leaves_nothing_behind() -> None:
    async def scene() -> None:
        turns, served = Turns(1, 10, 10, longest_s=0.01), list[str]()
        await turns.take("x")
        with pytest.raises(HttpError) as slow:
            await turns.take("ana")
        assert (slow.value.status, slow.value.code) == (503, "queue_slow")
        assert slow.value.headers["Retry-After"]
        assert (turns.waiting, turns.taken) == (0, 1)
        turns.give_back()
        await ask(turns, "bo", served)
        assert served == ["bo"]

    run(scene())
