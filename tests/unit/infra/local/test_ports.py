"""Port choice: no two stacks get the same port, and a kept one is used again."""

import socket

from infra.local.ports import LOOPBACK, is_free, lease_port


def test_a_leased_port_is_not_leased_twice() -> None:
    """Two stacks starting at once get different ports although neither has bound its own yet."""
    first = lease_port()
    second = lease_port(first.port)
    assert first.port != second.port
    first.release()
    third = lease_port(first.port)
    assert third.port == first.port
    for lease in (first, second, third):
        lease.release()


def test_a_port_with_a_listener_is_passed_over() -> None:
    """A port that somebody listens on is not free, and the next candidate is taken."""
    with socket.create_server((LOOPBACK, 0)) as listener:
        taken = listener.getsockname()[1]
        assert not is_free(taken)
        lease = lease_port(None, taken)
        assert lease.port != taken
        lease.release()
