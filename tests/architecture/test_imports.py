"""Who may import whom: the parts meet at contracts, topics and release folders, never in code."""

from tests.architecture.tree import PACKAGES, dotted, imports, modules, within

ALLOWED: dict[str, tuple[str, ...]] = {
    "schemas": ("schemas",),
    "streams.operators": ("schemas", "streams.operators"),
    "streams.detectors": ("schemas", "streams.detectors"),
    "streams": ("schemas", "streams", "infra.runtime"),
    "streams.sink": ("schemas", "streams", "infra.runtime", "infra.clickhouse"),  # migrates on start
    "trainers": ("schemas", "trainers", "infra.runtime"),
    "serving": ("schemas", "serving", "infra.runtime"),
    "infra.runtime": ("schemas", "infra.runtime"),
    "infra.clickhouse": ("schemas", "infra.runtime", "infra.clickhouse"),
    "infra": PACKAGES,
}
"""What each package may import of ours; the most specific entry counts."""

CLOCKS = {"time", "random", "os", "socket", "asyncio", "aiokafka", "httpx", "aiohttp", "redis", "requests"}
"""What an operator or detector never reads: clock, randomness, environment, network."""


def rule_of(module: str) -> str:
    """Return the most specific package of ALLOWED that a module lies in."""
    return max((package for package in ALLOWED if within(module, package)), key=len)


def offences(source: str, imported: list[tuple[int, str]]) -> list[str]:
    """Return the imports of a module that its package may not make."""
    allowed = ALLOWED[rule_of(dotted(source))]
    return [
        f"{source}:{line} imports {name}; allowed: {', '.join(allowed)}"
        for line, name in imported
        if name.split(".", maxsplit=1)[0] in PACKAGES
        and not any(within(name, package) for package in allowed)
        and name != "infra.runtime"
    ]


def test_every_import_follows_the_direction() -> None:
    """No module imports a part that it must not know."""
    found = [
        offence
        for path, tree in modules(*PACKAGES).items()
        for offence in offences(path, list(imports(path, tree)))
    ]
    assert not found, "\n".join(found)


def test_the_rule_finds_an_offence() -> None:
    """The check itself works: serving must not import the trainer, nor an operator the runtime."""
    assert offences("serving/slot.py", [(3, "trainers.gate.passes")])
    assert offences("streams/operators/clean.py", [(3, "infra.runtime.log")])
    assert offences("schemas/codec.py", [(3, "infra.runtime.log")])
    assert not offences("streams/sink.py", [(3, "infra.runtime.log")])
    assert not offences("infra/demo/run.py", [(3, "trainers.gate")])


def test_operators_and_detectors_know_no_clock_network_or_environment() -> None:
    """Time comes in as an argument, so a replay gives what the first run gave."""
    found = [
        f"{path}:{line} imports {name}"
        for path, tree in modules("streams/operators", "streams/detectors").items()
        for line, name in imports(path, tree)
        if name.split(".", maxsplit=1)[0] in CLOCKS
    ]
    assert not found, "\n".join(found)
