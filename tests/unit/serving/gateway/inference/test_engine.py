"""The engine while it has no models: nothing is loaded unasked, and what is away is said."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from infra.runtime.clock import ManualClock
from infra.runtime.settings import Endpoints, Settings, parse
from serving.gateway.inference import engine
from serving.gateway.inference.engine import Inference
from serving.gateway.problems import Refused

CONFIG = (
    '[streams.requests]\nkind = "api"\n[streams.requests.model]\nname = "waf"\n[streams.logs]\nkind = "log"\n'
)
NOWHERE = Endpoints("127.0.0.1:1", "redis://127.0.0.1:1/0", "http://127.0.0.1:1")


@pytest.fixture
async def inference(tmp_path: Path) -> AsyncIterator[Inference]:
    """An engine whose Kafka is away."""
    settings = Settings(tmp_path, parse(CONFIG, "the test"), NOWHERE)
    async with Inference(settings, ManualClock(datetime(2026, 3, 14, tzinfo=UTC)), 2) as made:
        yield made


async def test_unknown_models_are_refused_without_loading(inference: Inference):
    """Models have the names that headrace.toml gives them; a stream without a model has none."""
    for name in ("requests", "logs", "nope"):
        with pytest.raises(Refused, match=r"headrace\.toml names: waf") as refused:
            await inference.served(name)
        assert refused.value.status == 404
    assert inference.ready and not inference.started


async def test_a_broker_that_is_away_is_a_503_and_asked_again(inference: Inference):
    """Each caller hears of it, the engine is not ready then, and the next request tries anew."""
    for _ in range(2):
        outcomes = await asyncio.gather(
            inference.served("waf"), inference.index(), inference.served("waf"), return_exceptions=True
        )
        for error in outcomes:
            assert isinstance(error, Refused) and error.status == 503, error
            assert "releases cannot be read" in error.detail
        assert not inference.ready and not inference.started


async def test_who_waits_for_the_models_is_bounded(inference: Inference, monkeypatch: pytest.MonkeyPatch):
    """Beyond the bound a request is refused at once; one that gives up waiting makes room."""
    monkeypatch.setattr(engine, "_MAX_WAITING", 1)
    first = asyncio.create_task(inference.served("waf"))
    await asyncio.sleep(0)
    with pytest.raises(Refused, match="many wait"):
        await inference.served("waf")
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    with pytest.raises(Refused, match="releases cannot be read"):
        await inference.served("waf")
