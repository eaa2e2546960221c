"""The Open Inference Protocol against real services, releases and clients: ours and others."""

import asyncio
import dataclasses
import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest

from infra.bench.streams.environments import installed
from infra.local.jars import cache_folder
from infra.runtime.kafka.admin import create_topics
from infra.runtime.kafka.follow import follow
from infra.runtime.kafka.produce import Publisher
from infra.runtime.settings import Endpoints, Settings
from schemas import codec, topics
from schemas.clean import Clean
from schemas.prediction import Prediction
from schemas.record import Coordinates, Kind, Outgoing
from schemas.release import Release, Swap, Task
from serving import consumer
from serving.client import Client, GatewayRefused, Retry
from serving.client_sync import SyncClient
from serving.gateway.inference.generated import open_inference_pb2 as messages
from serving.gateway.inference.grpc_server import SERVICE
from tests import running
from tests.running import JUDGED, announce, beside, read, settings_of
from tests.unit.serving.releases import CREATED_AT, FEATURES, lay_out, sensor, tiny_text
from tests.unit.serving.texts import TEXTS
from tests.waiting import aeventually

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]

TRITON_CLIENT = "tritonclient[http,grpc]==2.66.0"
OF_ITS_OWN = ["run", "--quiet", "--isolated", "--no-project", "--python", "3.11", "--with", TRITON_CLIENT]
KSERVE = Path(__file__).with_name("kserve")
PROGRAM = Path(__file__).with_name("triton_client.py")
READINGS: list[list[float | None]] = [[55.0, 9.0, 31.0], [90.0, None, 80.0]]


@pytest.fixture
async def settings(stack: Endpoints, unique: str, tmp_path: Path) -> Settings:
    """Settings with topics of this test's own."""
    made = settings_of(stack, unique, tmp_path, JUDGED)
    await create_topics(made)
    return made


def laid_out(settings: Settings) -> tuple[Release, Release, Release]:
    """Lay out two versions of a text model and one of readings; nothing is announced.

    Exporting them keeps the event loop for seconds, and a gateway on the same loop would rightly say that it
    has too much to do: so it comes before the gateway.
    """
    return (
        lay_out(settings.releases, tiny_text(1), model="requests", version=1, serve="int8"),
        lay_out(settings.releases, tiny_text(2), model="requests", version=2),
        lay_out(settings.releases, sensor(1, Task.ANOMALY), model="host", version=3),
    )


async def released(settings: Settings) -> None:
    """Lay out and announce a text model and one of readings, before a gateway runs."""
    texts, _, readings = laid_out(settings)
    await announce(settings, texts)
    await announce(settings, readings)


@pytest.fixture
def releases(settings: Settings) -> tuple[Release, Release, Release]:
    """What can be announced."""
    return laid_out(settings)


@pytest.fixture
async def gateway(
    settings: Settings, releases: tuple[Release, Release, Release]
) -> AsyncIterator[dict[str, str]]:
    """A running gateway's record: its addresses."""
    async with running.gateway(settings) as record:
        yield record


@pytest.fixture
async def http(gateway: dict[str, str]) -> AsyncIterator[aiohttp.ClientSession]:
    """A plain HTTP client of the gateway."""
    async with aiohttp.ClientSession(gateway["url"]) as session:
        yield session


@pytest.fixture
async def announced(
    settings: Settings, releases: tuple[Release, Release, Release]
) -> tuple[Release, Release]:
    """Announce the first version of the text model, and the model of readings."""
    texts, _, readings = releases
    await announce(settings, texts)
    await announce(settings, readings)
    return texts, readings


def clean(number: int, **contents: Any) -> Clean:
    """A clean event with a text or readings."""
    return Clean(
        kind=Kind.API if "text" in contents else Kind.SENSOR,
        source="/shop",
        id=f"e{number}",
        time=CREATED_AT,
        raw=Coordinates("events.raw", 0, number),
        **contents,
    )


async def streamed(settings: Settings) -> dict[str, Prediction]:
    """Let the streaming worker answer all texts and readings; return its predictions by event id.

    It gets no Redis: what the gateway put there would be compared with itself.
    """
    alone = Endpoints(settings.endpoints.kafka, "redis://127.0.0.1:1/0", settings.endpoints.clickhouse)
    events = [clean(number, stream="requests", text=text) for number, text in enumerate(TEXTS)]
    for number, row in enumerate(READINGS, len(TEXTS)):
        known = {name: value for name, value in zip(FEATURES, row, strict=True) if value is not None}
        events.append(clean(number, stream="host", values=known))
    records = [Outgoing(topics.CLEAN.name, b"/shop", codec.encode(event)) for event in events]
    async with Publisher(settings) as publisher:
        await publisher.send_all(records)

    async def answered() -> list[Prediction]:
        found = await read(settings, topics.PREDICTIONS, Prediction)
        return found if len(found) >= len(events) else []

    async with beside(consumer.run(dataclasses.replace(settings, endpoints=alone))):
        return {one.id: one for one in await aeventually(answered, 60.0, 0.2)}


async def test_answers_are_the_streaming_workers(
    settings: Settings, gateway: dict[str, str], announced: tuple[Release, Release]
) -> None:
    """Equal texts and readings get equal answers, whether they come as events or as a request."""
    texts, readings = announced
    async with Client(gateway["url"]) as client:
        direct = await client.infer("requests", TEXTS)
        values = await client.infer("host", READINGS)
    predictions = await streamed(settings)
    expected = [predictions[f"e{number}"] for number in range(len(TEXTS) + len(READINGS))]
    assert [one.label for one in expected] == [*direct.labels, *values.labels]
    assert [one.score for one in expected] == pytest.approx([*direct.scores, *values.scores], abs=1e-6)
    assert not any(one.cached for one in expected)
    assert {one.sha256 for one in expected} == {direct.sha256, values.sha256}
    assert (direct.version, direct.sha256) == (1, texts.sha256)
    assert (values.version, values.sha256) == (3, readings.sha256)


async def test_models_are_loaded_when_asked_for_and_swapped(
    settings: Settings,
    gateway: dict[str, str],
    http: aiohttp.ClientSession,
    releases: tuple[Release, Release, Release],
    announced: tuple[Release, Release],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Probes load nothing; a model without a release is 503; a new release answers the requests after it."""
    first, _ = announced
    for path in ("/v2", "/v2/health/live", "/v2/health/ready"):
        assert (await http.get(path)).status == 200
    assert not any("model.swapped" in record.getMessage() for record in caplog.records)
    logs = await http.get("/v2/models/logs/ready")
    assert (logs.status, logs.headers["retry-after"]) == (503, "1")
    assert "no release" in (await logs.json())["error"]
    metadata = await (await http.get("/v2/models/requests")).json()
    assert (metadata["versions"], metadata["parameters"]["sha256"]) == (["1"], first.sha256)
    second = releases[1]
    await announce(settings, second)

    async def swapped() -> bool:
        return (await http.get("/v2/models/requests/versions/2/ready")).status == 200

    async with Client(gateway["url"]) as client:
        await aeventually(swapped, 30.0)
        assert (await client.infer("requests", TEXTS[:2], version=2)).sha256 == second.sha256
        with pytest.raises(GatewayRefused, match=r"version '1'.*does not serve"):
            await client.infer("requests", TEXTS[:2], version=1)
    swaps = [record async for record in follow(settings, [topics.SWAPS], stop_at_end=True)]
    assert [codec.decode(record.value or b"", Swap) for record in swaps] == []


@pytest.mark.usefixtures("announced")
async def test_refusals_are_the_protocols(gateway: dict[str, str], http: aiohttp.ClientSession) -> None:
    """What a model does not take is refused with its reason, and a full queue with when to come again."""
    text = {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["a"]}
    values = {"name": "values", "datatype": "FP64", "shape": [1, 3], "data": [1, 2, 3]}
    wrong: list[tuple[str, Any, int, str]] = [
        ("requests", {**text, "shape": [2]}, 400, "2 elements"),
        ("requests", {**text, "datatype": "FP32"}, 400, "is BYTES"),
        ("requests", {**text, "name": "x"}, 400, "'text'"),
        ("requests", {**text, "shape": [2**40]}, 413, "rows"),
        ("requests", {**text, "data": ["x" * 300_000]}, 413, "300000 bytes"),
        ("host", {**values, "shape": [1, 2]}, 400, "[N, 3]"),
        ("host", {**values, "data": [1, 2]}, 400, "3 elements"),
        ("host", {**values, "data": ["a", 2, 3]}, 400, "array of numbers"),
        ("nope", text, 404, "requests, host, logs"),
    ]
    for model, tensor, status, reason in wrong:
        response = await http.post(f"/v2/models/{model}/infer", json={"inputs": [tensor]})
        document = await response.json()
        assert (response.status, list(document)) == (status, ["error"]), document
        assert reason in document["error"]
    full = [{**text, "shape": [1024], "data": [f"{n} {m}" for m in range(1024)]} for n in range(12)]
    responses = await asyncio.gather(
        *(http.post("/v2/models/requests/infer", json={"inputs": [tensor]}) for tensor in full)
    )
    assert {response.status for response in responses} == {200, 503}
    busy = [response for response in responses if response.status == 503]
    assert {response.headers["retry-after"] for response in busy} == {"1"}
    with SyncClient(gateway["url"], retry=Retry(attempts=1)) as client:
        answered = await asyncio.to_thread(client.infer, "host", READINGS)
        assert len(answered.scores) == 2


@pytest.mark.usefixtures("announced")
async def test_grpc_takes_typed_contents_too(gateway: dict[str, str]) -> None:
    """Elements in their datatypes' fields are answered in these; mixed and wrong ones are refused."""
    value = messages.InferTensorContents
    text = messages.ModelInferRequest.InferInputTensor(
        name="text", datatype="BYTES", shape=[2], contents=value(bytes_contents=[b"GET /a", b"GET /b"])
    )
    values = messages.ModelInferRequest.InferInputTensor(
        name="values", datatype="FP32", shape=[1, 3], contents=value(fp32_contents=[55.0, float("nan"), 31.0])
    )
    async with grpc.aio.insecure_channel(gateway["grpc"]) as channel, Client(gateway["url"]) as client:
        infer = channel.unary_unary(
            f"/{SERVICE}/ModelInfer",
            request_serializer=messages.ModelInferRequest.SerializeToString,
            response_deserializer=messages.ModelInferResponse.FromString,
        )
        answered = await infer(messages.ModelInferRequest(model_name="requests", id="5", inputs=[text]))
        direct = await client.infer("requests", ["GET /a", "GET /b"])
        label, score = answered.outputs
        assert [one.decode() for one in label.contents.bytes_contents] == direct.labels
        assert (list(score.contents.fp64_contents), answered.id) == (direct.scores, "5")
        assert not answered.raw_output_contents
        answered = await infer(messages.ModelInferRequest(model_name="host", inputs=[values]))
        assert (
            list(answered.outputs[1].contents.fp64_contents)
            == (await client.infer("host", [[55.0, None, 31.0]])).scores
        )
        for wrong in ({"inputs": [text], "raw_input_contents": [b""]}, {"inputs": [values]}, {}):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await infer(messages.ModelInferRequest(model_name="requests", **wrong))
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_tritonclient_works_unchanged(
    gateway: dict[str, str], announced: tuple[Release, Release]
) -> None:
    """NVIDIA's client, both halves: health, metadata, index, binary tensors both ways, errors."""
    texts, readings = announced
    rows = [[float("nan") if value is None else value for value in row] for row in READINGS]
    given = {"texts": TEXTS[:5], "readings": rows, "unknown": "nope"}
    own = cache_folder() / "uv" / "bin" / "uv"
    uv = shutil.which("uv") or str(own)
    done = await asyncio.to_thread(
        subprocess.run,
        [uv, *OF_ITS_OWN, "python", str(PROGRAM), gateway["url"].removeprefix("http://"), gateway["grpc"]],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    async with Client(gateway["url"]) as client:
        direct, values = await client.infer("requests", TEXTS[:5]), await client.infer("host", READINGS)
    said = json.loads(done.stdout)
    for wire, one in said.items():
        assert (one["live"], one["ready"], one["model_ready"]) == (True, True, True)
        assert (one["version_ready"], one["unknown_ready"]) == (False, False)
        assert "binary_tensor_data" in one["server"]["extensions"]
        assert one["model"]["inputs"][0]["name"] == "values"
        assert [int(size) for size in one["model"]["inputs"][0]["shape"]] == [-1, 3]
        index = one["index"] if wire == "http" else one["index"]["models"]
        assert {entry["name"]: entry.get("state") for entry in index} == {
            "requests": "READY", "host": "READY", "logs": "UNAVAILABLE",
        }  # fmt: skip
        for asked, number in (("text", "7"), ("column", "8")):
            assert (one[asked]["labels"], one[asked]["scores"]) == (direct.labels, direct.scores)
            assert (one[asked]["version"], one[asked]["id"]) == ("1", number)
        assert (one["readings"]["labels"], one["readings"]["scores"]) == (values.labels, values.scores)
        digest = one["readings"]["parameters"]["sha256"]
        assert (digest if wire == "http" else digest["string_param"]) == readings.sha256
        unknown, narrow = one["refused"]
        assert "no model is called 'nope'" in unknown["message"]
        assert unknown["status"] == ("404" if wire == "http" else "StatusCode.NOT_FOUND")
        assert "[N, 3]" in narrow["message"]
    assert texts.sha256 == direct.sha256


async def test_kserves_clients_work_unchanged(
    gateway: dict[str, str], announced: tuple[Release, Release]
) -> None:
    """KServe's REST and gRPC clients: health, readiness, answers from plain and binary tensors, a refusal."""
    texts, readings = announced
    rows = [[float("nan") if value is None else value for value in row] for row in READINGS]
    locked = KSERVE.with_suffix(".lock").read_text(encoding="utf-8").split()
    folder = await asyncio.to_thread(installed, "kserve", locked, cache_folder() / "test-clients", print)
    done = await asyncio.to_thread(
        subprocess.run,
        [str(folder / "python"), str(KSERVE.with_name("kserve_client.py")), gateway["url"], gateway["grpc"]],
        input=json.dumps({"texts": TEXTS[:5], "readings": rows[:1], "unknown": "nope"}),
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    async with Client(gateway["url"]) as client:
        direct, values = await client.infer("requests", TEXTS[:5]), await client.infer("host", READINGS[:1])
    said = json.loads(done.stdout)
    assert len(said) == 4
    for wire, one in said.items():
        assert (one["live"], one["ready"], one["model_ready"]) == (True, True, True)
        assert (one["text"]["labels"], one["text"]["scores"]) == (direct.labels, direct.scores)
        assert one["text"]["model"] == "requests"
        assert (one["readings"]["labels"], one["readings"]["scores"]) == (values.labels, values.scores)
        assert one["readings"]["id"] == "8"
        if wire.startswith("grpc"):  # over REST this client does not read the version
            versions = str(texts.version), str(readings.version)
            assert (one["text"]["version"], one["readings"]["version"]) == versions
        assert "no model is called 'nope'" in one["refused"]
