from __future__ import annotations

from dicomnode.rates import Rates, address_key


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_so_many_pass_at_once_and_then_as_many_a_minute() -> None:
    clock = Clock()
    rates = Rates(6, clock=clock)
    assert [rates.seconds_to_wait("a") for _ in range(6)] == [0] * 6
    assert rates.seconds_to_wait("a") == 10
    clock.now = 9.9
    assert 0 < rates.seconds_to_wait("a") < 0.2
    clock.now = 10.1
    assert rates.seconds_to_wait("a") == 0
    assert rates.seconds_to_wait("a") > 0


def test_looking_counts_nothing() -> None:
    rates = Rates(1, clock=Clock())
    assert [rates.seconds_left("a") for _ in range(3)] == [0, 0, 0]
    assert rates.seconds_to_wait("a") == 0
    assert rates.seconds_left("a") == 60


def test_keys_do_not_share() -> None:
    rates = Rates(1, clock=Clock())
    assert [rates.seconds_to_wait(key) for key in "ab"] == [0, 0]


def test_refused_ones_do_not_count() -> None:
    clock = Clock()
    rates = Rates(1, clock=clock)
    for _ in range(1000):
        rates.seconds_to_wait("a")
    clock.now = 60
    assert rates.seconds_to_wait("a") == 0


def test_a_long_pause_saves_up_no_more_than_a_minute() -> None:
    clock = Clock()
    rates = Rates(2, clock=clock)
    rates.seconds_to_wait("a")
    clock.now = 1e9
    assert [rates.seconds_to_wait("a") > 0 for _ in range(3)] == [False, False, True]


def test_it_remembers_a_bounded_number_of_keys() -> None:
    rates = Rates(1, most_keys=100, clock=Clock())
    for number in range(10_000):
        rates.seconds_to_wait(str(number))
    assert len(rates._left) == 100


def test_all_addresses_of_one_network_of_ipv6_are_one() -> None:
    assert address_key("2001:db8:1:2::3") == address_key("2001:db8:1:2:ffff::1")
    assert address_key("2001:db8:1:2::3") != address_key("2001:db8:1:3::3")
    assert address_key("192.0.2.1") != address_key("192.0.2.2")
    assert address_key("no address") == "no address"
