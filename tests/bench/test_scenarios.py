"""The functions that the benchmarks run give the results that are expected of them, in this library's modes."""

import pytest

from bench.modes.contestants import CONTESTANTS
from bench.modes.scenarios import SCENARIOS, scenario
from bench.pipelines import FIGURES, Figure, measure

FEW = 6


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name != "carry 50 MB"])
async def test_every_scenario_gives_its_results(name: str) -> None:
    """Some values at once and one alone, as the library comes."""
    scene = scenario(name)
    async with CONTESTANTS["auto"].start(scene, 1) as running:
        assert list(await running.many(scene.values[:FEW])) == list(scene.expected[:FEW])
        assert await running.one(scene.values[-1]) == scene.expected[-1]


@pytest.mark.parametrize(
    "name",
    ["coroutine", "thread", "process", "asyncio.TaskGroup", "multiprocessing.Pool.map", "ProcessPoolExecutor.map"],
)
async def test_contestants_keep_the_order_of_results(name: str) -> None:
    """Chunks, threads and workers or not."""
    scene = scenario("no-op")
    async with CONTESTANTS[name].start(scene, 2) as running:
        assert await running.many(scene.values[:100]) == list(scene.expected[:100])


@pytest.mark.parametrize("figure", [figure for figure in FIGURES if "unordered" not in figure.name])
async def test_each_pipeline_gives_its_results(figure: Figure) -> None:
    """The pipeline and its slowest stage alone; wrong results end the program."""
    assert await measure(figure, 0.01) > 0
