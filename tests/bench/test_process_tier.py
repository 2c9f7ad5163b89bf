"""`python -m bench.process_tier`: that the contestants with next to nothing behind them answer as the others do."""

from typing import Any

import pytest
import uvloop

from bench.process_tier.contestants import Contestant
from bench.process_tier.floors import Pipes, futures_alone
from bench.process_tier.handler import VALUE


@pytest.mark.parametrize("make", [Pipes, futures_alone])
def test_floors_give_every_value_back(make: Any) -> None:
    """One at a time and in a burst of several messages; they end when they are told to."""

    async def scenario(contestant: Contestant) -> None:
        await contestant.start()
        try:
            assert await contestant.send(VALUE) == VALUE
            assert await contestant.send({**VALUE, "id": 7}) == {**VALUE, "id": 7}
            await contestant.burst([VALUE] * 1000)
        finally:
            await contestant.stop()

    uvloop.run(scenario(make()))
