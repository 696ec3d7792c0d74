"""Events as UDP datagrams: those that faery sends; what is malformed, late or lost is counted; wrong addresses."""

import contextlib
import itertools
import socket
import sys

import numpy as np
import pytest

from src.command_line import Stopped, UserError
from src.events import event_datagrams
from src.events.event_datagrams import FORMATS, LATEST, EventSocket, UdpAddress
from tests.events.formats.streams import NOTHING, joined
from tests.events.formats.test_windows import ORDERED
from tests.recordings import same

T64, T32 = FORMATS


@pytest.fixture(params=FORMATS)
def receiver(request):
    """A socket for each of the formats."""
    with EventSocket(UdpAddress("127.0.0.1", 0, request.param)) as it:
        yield it


@pytest.fixture
def receiver_of_32_bits():
    with EventSocket(UdpAddress("127.0.0.1", 0, T32)) as it:
        yield it


def packed(receiver, *events):
    """A datagram of events (t, x, y, p)."""
    rows = events if receiver.address.format == T64 else [(t % 2**32, x, y << 1 | p) for t, x, y, p in events]
    return np.array(list(rows), FORMATS[receiver.address.format]).tobytes()


def at_times(receiver, *times):
    return packed(receiver, *((t, 1, 2, 1) for t in times))


def send(receiver, *datagrams):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for datagram in datagrams:
            sender.sendto(datagram, ("127.0.0.1", receiver.address.port))


def received(receiver):
    """The events that are there: on one machine, what was sent can be read at once."""
    looks = itertools.count()

    def check():
        if next(looks) > 0:
            raise Stopped("enough")

    parts = [NOTHING]
    with contextlib.suppress(Stopped):
        parts.extend(receiver.events(check))
    return joined(parts)


def times(receiver, *datagrams):
    send(receiver, *datagrams)
    return received(receiver).t.tolist()


def test_events_are_those_that_faery_sends(receiver):
    faery = pytest.importorskip("faery")
    array = np.empty(len(ORDERED), faery.EVENTS_DTYPE)
    array["t"], array["x"], array["y"], array["on"] = ORDERED.t, ORDERED.x, ORDERED.y, ORDERED.p
    sent = faery.events_stream_from_array(array, (34, 34))
    sent.to_udp(("127.0.0.1", receiver.address.port), events_per_packet=30, format=receiver.address.format)
    assert same(received(receiver), ORDERED)


def test_all_fields_keep_their_values(receiver):
    send(receiver, packed(receiver, (5, 65535, 32767, 1), (6, 0, 0, 0)))
    events = received(receiver)
    assert [getattr(events, name).tolist() for name in "txyp"] == [[5, 6], [65535, 0], [32767, 0], [1, 0]]


def test_a_datagram_with_a_part_of_an_event_is_left_out_and_counted(receiver):
    assert times(receiver, at_times(receiver, 1), at_times(receiver, 2, 3)[:-1], at_times(receiver, 4)) == [1, 4]
    assert receiver.num_malformed == 1


def test_an_empty_datagram_is_none(receiver):
    assert times(receiver, b"", at_times(receiver, 4)) == [4]
    assert receiver.num_malformed == 0


def test_a_datagram_with_a_time_that_is_none_is_left_out_and_counted():
    with EventSocket(UdpAddress("127.0.0.1", 0, T64)) as receiver:
        assert times(receiver, at_times(receiver, 2, LATEST + 1), at_times(receiver, LATEST)) == [LATEST]
        assert receiver.num_malformed == 1


def test_events_of_a_late_datagram_stay_where_they_come(receiver):
    assert times(receiver, at_times(receiver, 10, 11), at_times(receiver, 5), at_times(receiver, 12)) == [10, 11, 5, 12]


def test_a_time_of_32_bits_goes_on_when_it_overflows(receiver_of_32_bits):
    end = 2**32
    datagrams = [at_times(receiver_of_32_bits, *of) for of in ((end - 2, end + 1), (end - 1,), (end + 5,))]
    assert times(receiver_of_32_bits, *datagrams) == [end - 2, end + 1, end - 1, end + 5]


def test_a_time_of_32_bits_goes_on_between_looks(receiver_of_32_bits):
    assert times(receiver_of_32_bits, at_times(receiver_of_32_bits, 2**32 - 1)) == [2**32 - 1]
    assert times(receiver_of_32_bits, at_times(receiver_of_32_bits, 2**32)) == [2**32]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts them")
def test_datagrams_that_the_system_had_no_room_for_are_counted(monkeypatch):
    monkeypatch.setattr(event_datagrams, "BUFFER_BYTES", 1)  # the system gives the least that it can
    with EventSocket(UdpAddress("127.0.0.1", 0, T64)) as receiver:
        found = times(receiver, *(at_times(receiver, number) for number in range(1000)))
        assert 0 < len(found) < 1000
        assert found + times(receiver, at_times(receiver, 1000)) == [*range(len(found)), 1000]
        assert receiver.num_lost == 1000 - len(found)


@pytest.mark.parametrize(
    ("url", "host", "port", "name"),
    [
        ("udp://127.0.0.1:7777", "127.0.0.1", 7777, T64),
        (f"udp://localhost:0/{T32}", "localhost", 0, T32),
        (f"udp://[::1]:65535/{T64}/", "::1", 65535, T64),
        ("udp://:7777", None, 7777, T64),
    ],
)
def test_an_address_has_a_host_a_port_and_a_format(url, host, port, name):
    assert UdpAddress.parse(url) == UdpAddress(host, port, name)
    assert UdpAddress.parse(str(UdpAddress.parse(url))) == UdpAddress(host, port, name)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("udp://127.0.0.1", "give udp://HOST:PORT"),
        ("udp://127.0.0.1:", "give udp://HOST:PORT"),
        ("udp://127.0.0.1:65536", "Port out of range 0-65535; give udp://HOST:PORT"),
        ("udp://127.0.0.1:camera", "give udp://HOST:PORT"),
        ("udp://me@127.0.0.1:7777", "give udp://HOST:PORT"),
        ("udp://[::1:7777", "Invalid IPv6 URL; give udp://HOST:PORT"),
        ("tcp://127.0.0.1:7777", "give udp://HOST:PORT"),
        ("udp://127.0.0.1:7777/aedat4", f"there is no format aedat4; behind the port stands one of {T64}, {T32}"),
    ],
)
def test_what_is_no_address_is_one_line(url, message):
    with pytest.raises(UserError) as error:
        UdpAddress.parse(url)
    assert str(error.value).startswith(f"{url}: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_port_that_is_taken_is_named(receiver):
    with pytest.raises(UserError, match=rf"udp://127.0.0.1:{receiver.address.port}/.*: cannot receive there: \w+"):
        EventSocket(receiver.address)


@pytest.mark.parametrize("host", ["host.invalid", "a" * 70, "..", "203.0.113.7"])
def test_a_host_that_is_none_or_elsewhere_is_named(host):
    with pytest.raises(UserError, match=r"^udp://.*: (there is no such host|cannot receive there): "):
        EventSocket(UdpAddress(host, 0, T64))


def test_any_address_of_this_machine_may_be_meant():
    with EventSocket(UdpAddress(None, 0, T64)) as receiver:
        assert times(receiver, at_times(receiver, 7)) == [7]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts them")
def test_datagrams_that_are_lost_at_the_end_of_a_burst_are_counted():
    with EventSocket(UdpAddress("127.0.0.1", 0, "t64_x16_y16_on8")) as receiver:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for _ in range(20_000):
                sender.sendto(bytes(13 * 100), ("127.0.0.1", receiver.address.port))
        taken = sum(1 for _ in iter(lambda: sum(1 for _ in receiver._datagrams()), 0))
        assert taken > 0
        lost = receiver.num_lost
        assert lost > 0
    assert receiver.num_lost == lost
