"""The bench of the gateway's door: what is compared answers the same, and its table."""

from infra.bench.closed_loop import Load
from infra.bench.gateway.inside import ask
from infra.bench.gateway.served import PATH, bare, plain
from infra.bench.gateway.speed import figures_of, report


async def test_both_no_ops_answer_the_same():
    """The peer and the endpoint behind the door do the same work."""
    answers = [await ask(app, "POST", PATH) for app in (plain(), bare())]
    assert {answer.status for answer in answers} == {200}
    assert answers[0].body.replace(b" ", b"") == answers[1].body


def test_a_ratio_is_of_one_round():
    """Rounds are compared in pairs, so that a slow minute of the machine hits both."""
    fast, slow = Load(1.0, [10.0] * 100), Load(1.0, [20.0] * 50)
    found = figures_of({"fastapi": [fast, slow, slow], "key": [fast, slow, fast]})
    assert found["ratios"] == {"key": 1.0}
    assert found["systems"]["key"]["requests_per_s"] == 100
    assert "1.00" in report(found)
