"""What `headrace models …` works with: reads release folders and `models.releases`, produces records.

requests/2   requests 2   2            where one model has that number
requests/champion   requests previous   latest
"""

import asyncio
import difflib
import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from aiokafka.errors import KafkaError

from infra.runtime import log
from infra.runtime.kafka.follow import follow
from infra.runtime.releases import Releases
from infra.runtime.settings import Settings, load_config
from schemas import codec, topics
from schemas.errors import Fatal, Retryable
from schemas.release import Release, State, Swap, on_trial
from trainers import folders

ALIASES: Final = ("champion", "previous", "latest")


@dataclass(frozen=True)
class Announced:
    """The newest record of every key: `serving` by model, `judged` (rejected, rolled back) by version.

    `staged` is the newest release of each model that is in shadow or canary, or once was.
    """

    serving: dict[str, Release] = field(default_factory=dict)
    judged: dict[tuple[str, int], Release] = field(default_factory=dict)
    staged: dict[str, Release] = field(default_factory=dict)

    @property
    def models(self) -> set[str]:
        """Return the models that anything was announced of."""
        return set(self.serving) | {model for model, _ in self.judged} | set(self.staged)

    def trial(self, model: str) -> Release | None:
        """Return the model's release that is on trial, if one is."""
        return on_trial(self.serving.get(model), self.staged.get(model))


def read_announced(settings: Settings) -> Announced:
    """Read `models.releases` to its end."""
    return asyncio.run(_announced(settings))


def what_serves(settings: Settings) -> list[dict[str, Any]]:
    """Return what serves of each model, and what is on trial: stage, share, against which version.

    Raises:
        Retryable: the topic is not there yet, or Kafka does not answer.
    """
    try:
        announced = read_announced(settings)
    except KafkaError as error:
        raise Retryable(f"Kafka did not answer: {error}") from error
    found = []
    for model, release in sorted(announced.serving.items()):
        trial = announced.trial(model)
        rollout = trial.rollout if trial else None
        over = rollout is None or (not (trial and trial.staged) and rollout.until <= datetime.now(UTC))
        found.append(
            {
                "model": model,
                "version": release.version,
                "trial": None
                if rollout is None or trial is None or over
                else {
                    "version": trial.version,
                    "stage": rollout.stage.value,
                    "share": rollout.share,
                    "against": rollout.against,
                },
            }
        )
    return found


async def _announced(settings: Settings) -> Announced:
    found = Announced()
    async for record in follow(settings, [topics.RELEASES], stop_at_end=True):
        if record.key is None or record.value is None:
            continue
        release = codec.decode(record.value, Release)
        if release.staged:
            found.staged[release.model] = release
        elif b"/" in record.key:
            if release.state is not State.RELEASED:  # else it went from canary to all events
                found.judged[release.model, release.version] = release
            if (staged := found.staged.get(release.model)) and staged.version == release.version:
                del found.staged[release.model]
        else:
            found.serving[release.model] = release
    return found


async def still_served(settings: Settings, serving: Mapping[str, Release]) -> dict[str, set[int]]:
    """Return, by model, what workers may still serve: where the champion was refused, what was there before.

    A worker that lives has said of the champion that it took or refused it; one that said nothing is gone.
    The newest swap of all counts in any case.
    """
    swaps: dict[tuple[str, str], int] = {}
    newest: dict[str, int] = {}
    heard: set[tuple[str, str]] = set()
    async for record in follow(settings, [topics.SWAPS], stop_at_end=True):
        swap = codec.decode(record.value or b"", Swap)
        champion = serving.get(swap.model)
        if champion is not None and swap.version == champion.version:
            heard.add((swap.model, swap.worker))
        if swap.outcome == "swapped":
            newest[swap.model] = swaps[swap.model, swap.worker] = swap.version
    found: defaultdict[str, set[int]] = defaultdict(set)
    for model, version in newest.items():
        found[model].add(version)
    for model, worker in heard & swaps.keys():
        found[model].add(swaps[model, worker])
    return found


def models_in(releases: Path) -> set[str]:
    """Return the models that have a release folder."""
    return {
        entry.name
        for entry in releases.glob("*")
        if entry.is_dir() and folders.versions(releases, entry.name)
    }


def one_model(name: str | None, known: Iterable[str]) -> str:
    """Return the model that is meant: the named one, or the only one there is.

    Raises:
        Fatal: there is no such model, none at all, or several to choose from.
    """
    models = sorted(known)
    if name in models:
        return name
    if name is None:
        if len(models) == 1:
            return models[0]
        raise Fatal(f"which model? there are: {', '.join(models)}" if models else "there is no model yet")
    near = difflib.get_close_matches(name, models, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(models) or 'none'}"
    raise Fatal(f"no model is called {name!r}; {hint}")


def rejected_cards(home: Path) -> dict[tuple[str, int], Path]:
    """Return where the model cards of rejected candidates lie: in their run folders, until these go."""
    found = {}
    for path in (home / "trainer" / "runs").glob(f"*/{folders.CARD}"):
        card = json.loads(path.read_bytes())
        found[str(card["model"]), int(card["version"])] = path
    return found


def resolve(
    words: Sequence[str],
    releases: Path,
    announced: Callable[[], Announced],
    *,
    count: int = 1,
    rejected: Collection[tuple[str, int]] = (),
) -> tuple[str, list[int]]:
    """Return model and versions that the words of a command line mean; the topic is read for aliases only.

    `rejected` are candidates without a release folder that may be meant as well. What lies in the release
    store alone is fetched; the store is not asked where the folders here do.

    Raises:
        Fatal: no such model or version, or the words are too few or too many.
    """
    parts = [part for word in words for part in word.rsplit("/", 1)]
    names = [part for part in parts if not part.isdigit() and part not in ALIASES]
    wanted = [part for part in parts if part.isdigit() or part in ALIASES]
    if len(set(names)) > 1 or len(wanted) != count:
        form = "VERSION" if count == 1 else "VERSION VERSION"
        raise Fatal(f"give {form}, such as 2, requests/2 or champion, with the model's name before it or not")
    known: defaultdict[str, set[int]] = defaultdict(set)
    for model in models_in(releases):
        known[model].update(folders.versions(releases, model))
    for model, version in rejected:
        known[model].add(version)
    numbers = {int(word) for word in wanted if word.isdigit()}
    store = behind(releases)
    if len(numbers) < len(wanted) or not any(numbers <= known.get(name, set()) for name in names or known):
        for model, versions in store.stored().items():
            known[model].update(versions)
    having = [model for model in known if numbers and numbers <= known[model]]
    if not names and len(having) == 1:
        names = having
    model = one_model(names[0] if names else None, known)
    unread = {version for of, version in rejected if of == model}
    found = [_version(model, word, announced, known[model], unread) for word in wanted]
    for version in found:
        if version not in unread:
            store.bring(model, version)
    return model, found


def behind(releases: Path) -> Releases:
    """Return the release folders with the store behind them, if `headrace.toml` names one."""
    config = load_config()
    if config.releases.url:
        log.configure("models", level="warning")  # to stderr: standard output is the answer's
    return Releases.of(releases.parent, config)


def _version(
    model: str,
    word: str,
    announced: Callable[[], Announced],
    usable: Collection[int],
    unread: Collection[int],
) -> int:
    there = sorted(set(usable) - set(unread))
    if word.isdigit():
        if int(word) not in usable:
            known = ", ".join(map(str, there)) or "none"
            raise Fatal(f"{model} has no release {word}; there are: {known} (rejected ones have no folder)")
        return int(word)
    if word == "latest" and there:
        return there[-1]
    serving = announced().serving.get(model)
    if serving is None:
        raise Fatal(f"no release of {model} serves, so it has no {word}")
    if word == "champion":
        return serving.version
    if not serving.served_before:
        raise Fatal(f"nothing served before {model} {serving.version}, so it has no previous")
    return serving.served_before[-1]
