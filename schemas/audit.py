"""The contract of `audit`: who changed something, or was refused, by the gateway."""

from schemas.record import Contract, Moment


class Audit(Contract, frozen=True, kw_only=True):
    """One request, or one change of the gateway itself.

    `who` is `key/ID`, `jwt/SUBJECT`, `open` (a gateway that asks for no key), `unknown`, or `gateway`.
    `action` is the method and the route, or what the gateway did (`gateway.started`,
    `config.reloaded`, `keys.changed`).
    `outcome` is `done`, `refused` or `failed`, `status` HTTP's. `address` is the caller's network, masked to
    a /24 of IPv4 or a /48 of IPv6. Alike refusals within a second are one record, with the first one's
    `request_id` and their `count`.
    """

    at: Moment
    who: str
    action: str
    outcome: str
    status: int = 0
    request_id: str = ""
    address: str = ""
    detail: str = ""
    count: int = 1
