"""How connections to MongoDB wait: in one call of the kernel, in time, with nothing lost or mixed up."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from pymongo.network_layer import NetworkingInterface

from booking_service.djongo.interface import READ_AHEAD_BYTES, KernelTimedInterface, wait_in_kernel

Pair = tuple[KernelTimedInterface, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Our end and MongoDB's."""
    ours, theirs = socket.socketpair()
    ours.settimeout(20)
    with ours, theirs:
        yield KernelTimedInterface(ours), theirs


def read(interface: KernelTimedInterface, size: int) -> bytes:
    """As the driver reads the parts of a message."""
    buffer = memoryview(bytearray(size))
    done = 0
    while done < size:
        came = interface.recv_into(buffer[done:])
        if not came:
            raise ConnectionResetError
        done += came
    return bytes(buffer)


class Counting:
    """A socket that counts the calls of the kernel for what it reads."""

    def __init__(self, real: socket.socket) -> None:
        self.real = real
        self.reads = 0

    def recv_into(self, buffer: Any) -> int:
        self.reads += 1
        return self.real.recv_into(buffer)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


def test_it_reads_a_message_of_two_parts_with_one_call(pair: Pair) -> None:
    interface, theirs = pair
    interface.conn = counting = Counting(interface.conn)
    theirs.sendall(b"h" * 16 + b"b" * 300)
    assert read(interface, 16) == b"h" * 16
    assert read(interface, 300) == b"b" * 300
    assert counting.reads == 1


@pytest.mark.parametrize("size", [1, READ_AHEAD_BYTES - 16, READ_AHEAD_BYTES, READ_AHEAD_BYTES + 1, 400_000])
def test_it_reads_messages_of_any_length_one_behind_the_other(pair: Pair, size: int) -> None:
    interface, theirs = pair
    messages = [bytes([number]) * 16 + bytes([100 + number]) * size for number in range(3)]
    sender = threading.Thread(target=theirs.sendall, args=(b"".join(messages),))
    sender.start()
    for message in messages:
        assert read(interface, 16) + read(interface, size) == message
    sender.join()


def test_it_says_when_the_other_end_has_gone(pair: Pair) -> None:
    interface, theirs = pair
    theirs.sendall(b"half")
    theirs.close()
    assert read(interface, 4) == b"half"
    with pytest.raises(ConnectionResetError):
        read(interface, 1)


def test_it_waits_for_an_answer_no_longer_than_it_is_told_and_then_again(pair: Pair) -> None:
    interface, theirs = pair
    for seconds in (0.05, 0.2, 0.0000001):
        interface.settimeout(seconds)
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            read(interface, 1)
        assert time.monotonic() - began > seconds * 0.9
    theirs.sendall(b"late")
    assert read(interface, 4) == b"late"


def test_it_waits_without_end_when_there_is_none(pair: Pair) -> None:
    interface, theirs = pair
    interface.settimeout(0.01)
    with pytest.raises(TimeoutError):
        read(interface, 1)
    interface.settimeout(None)
    assert interface.gettimeout() is None
    threading.Timer(0.2, theirs.sendall, (b"x",)).start()
    assert read(interface, 1) == b"x"


def test_it_gives_up_on_sending_to_who_does_not_read(pair: Pair) -> None:
    interface, _ = pair
    interface.settimeout(0.1)
    with pytest.raises(TimeoutError):
        interface.sendall(b"x" * 10_000_000)


def test_the_time_to_send_and_the_time_to_wait_are_apart(pair: Pair) -> None:
    interface, theirs = pair
    interface.settimeout(20)
    interface.sendall(b"question")
    interface.settimeout(0.05)
    with pytest.raises(TimeoutError):
        read(interface, 1)
    interface.settimeout(20)
    drained = threading.Timer(0.3, theirs.recv, (4_000_000, socket.MSG_WAITALL))
    drained.start()
    interface.sendall(b"x" * (4_000_000 - len(b"question")))
    drained.join()


def test_a_connection_under_tls_stays_as_the_driver_made_it() -> None:
    with socket.socket() as plain:
        covered = NetworkingInterface(ssl.create_default_context().wrap_socket(plain, server_hostname="mongodb"))
        connection: Any = SimpleNamespace(conn=covered)
        wait_in_kernel(connection)
        assert connection.conn is covered
        covered.close()


def test_a_plain_connection_is_changed_once() -> None:
    with socket.socket() as plain:
        connection: Any = SimpleNamespace(conn=NetworkingInterface(plain))
        wait_in_kernel(connection)
        changed = connection.conn
        wait_in_kernel(connection)
        assert isinstance(changed, KernelTimedInterface)
        assert connection.conn is changed
