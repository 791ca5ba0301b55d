"""Says on the local network that this box is here: DNS-SD over mDNS (RFC 6763, RFC 6762)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from zeroconf import IPVersion, ServiceInfo
from zeroconf.asyncio import AsyncZeroconf

SERVICE = "_evenhand._tcp.local."


@asynccontextmanager
async def announced(
    properties: dict[str, str], port: int, addresses: list[str], on_line: Callable[[str], None]
) -> AsyncIterator[None]:
    """Be found under ``properties``; a machine without a network is simply not found."""
    info = ServiceInfo(
        SERVICE, f"{properties['name']} {properties['id']}.{SERVICE}", port=port, properties=dict(properties),
        server=f"evenhand-{properties['id']}.local.", parsed_addresses=addresses,
    )  # fmt: skip
    try:
        zeroconf = AsyncZeroconf(ip_version=IPVersion.All)
        await zeroconf.async_register_service(info, allow_name_change=True)
    except Exception as error:  # of whatever kind: the box answers under its address all the same
        on_line(f"not announced on the network: {type(error).__name__}: {error}")
        yield
        return
    try:
        yield
    finally:
        with suppress(Exception):
            await zeroconf.async_unregister_all_services()
            await zeroconf.async_close()
