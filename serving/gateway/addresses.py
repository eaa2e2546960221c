"""Addresses of callers, as far as logs and audit may know them: their network."""

import functools
import ipaddress


@functools.lru_cache(maxsize=4096)
def masked(address: str) -> str:
    """Keep the network of a client's address: a /24 of IPv4, a /48 of IPv6."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return ""
    bits = 24 if parsed.version == 4 else 48
    return str(ipaddress.ip_network((parsed, bits), strict=False))
