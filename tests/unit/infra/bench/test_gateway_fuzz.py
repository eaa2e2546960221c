"""Malformed requests: each is answered by a 4xx, a seed makes them again, and a fault would show."""

from collections import Counter
from itertools import islice

from infra.bench.gateway.fuzz import Outcome, run
from infra.bench.gateway.malformed import Malformed, requests

SEED = 7


async def test_malformed_requests_are_refused_and_nothing_breaks():
    """The reduced run: every kind, through the whole application; `headrace bench fuzz` sends 100,000."""
    outcome = await run(SEED, 4800)
    assert outcome.faults == []
    assert outcome.right and outcome.published == 0
    assert set(outcome.statuses) == {400, 413, 415, 422}
    assert all(sum(found.values()) == 400 for found in outcome.by_kind.values())


def test_a_seed_makes_the_same_requests():
    """A fault that was found can be shown again; another seed makes others."""
    first, again = list(requests(SEED, 500)), list(requests(SEED, 500))
    assert first == again
    assert first != list(requests(SEED + 1, 500))
    assert Counter(request.kind for request in islice(first, 24)).most_common(1)[0][1] == 2


def test_any_other_answer_is_a_fault():
    """What was taken, what failed and what was not answered count alike, and the first are shown."""
    request = Malformed("nested", "/v1/events", [], [b"[[["])
    for status in (202, 302, 500, 0):
        outcome = Outcome(SEED)
        outcome.note(0, request, status, "why")
        assert not outcome.right
        assert outcome.figures()["first_faults"][0]["status"] == status
    outcome = Outcome(SEED, published=1)
    assert not outcome.right
