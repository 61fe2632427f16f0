"""The address at which a sidecar is registered, for settings that name a host."""

from __future__ import annotations

import pytest

from meshwright.sidecar import advertised_address
from meshwright.sidecar.advertised_address import AdvertisedAddress, resolve_host
from meshwright.sidecar.errors import UnavailableError


class Names:
    """A resolver; an OSError is raised instead of returned."""

    def __init__(self, *answers: list[str] | OSError) -> None:
        self.answers = list(answers)

    async def resolve(self, _host: str) -> list[str]:
        answer = self.answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer


async def test_an_ip_address_is_used_as_it_is() -> None:
    for text in ("10.0.0.2", "2001:db8::1"):
        address = AdvertisedAddress(text, Names().resolve)
        assert address.last == await address.current() == text


async def test_a_name_is_resolved_once_until_it_is_time_again(monkeypatch: pytest.MonkeyPatch) -> None:
    address = AdvertisedAddress("node-1", Names(["10.0.0.2"], ["10.0.0.3"]).resolve)
    assert address.last == ""
    assert await address.current() == await address.current() == "10.0.0.2"
    monkeypatch.setattr(advertised_address, "RESOLVE_INTERVAL", 0.0)
    assert await address.current() == "10.0.0.3"


async def test_the_last_known_address_outlives_a_failure_of_dns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(advertised_address, "RESOLVE_INTERVAL", 0.0)
    failure = OSError(-3, "Temporary failure in name resolution")
    address = AdvertisedAddress("node-1", Names(failure, ["10.0.0.2"], failure, ["0.0.0.0"]).resolve)
    with pytest.raises(UnavailableError, match=r"cannot resolve node-1, .*: Temporary failure"):
        await address.current()
    assert [await address.current() for _ in range(3)] == ["10.0.0.2"] * 3


async def test_addresses_that_others_cannot_connect_to_are_skipped() -> None:
    address = AdvertisedAddress("node-1", Names(["fe80::1%eth0", "::", "2001:db8::1"]).resolve)
    assert await address.current() == "2001:db8::1"
    with pytest.raises(UnavailableError, match="no address that other nodes can connect to"):
        await AdvertisedAddress("node-1", Names(["224.0.0.1"]).resolve).current()


async def test_the_system_resolver_prefers_ipv4() -> None:
    assert (await resolve_host("localhost"))[0] == "127.0.0.1"
    with pytest.raises(OSError):
        await resolve_host("no-such-host.invalid")
