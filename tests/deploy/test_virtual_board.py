"""The virtual board's protocol, registers and manners, without pynq."""

import importlib.util
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf import descriptor_pb2

from deploy.board.driver import quantize
from deploy.board.package import Package, read_package
from deploy.board.packing import pack
from deploy.virtual_board.accelerator import Run
from deploy.virtual_board.board import Board
from deploy.virtual_board.overlay import blocks, read_payload, write_overlay
from deploy.virtual_board.played_dmas import PlayedDmas
from deploy.virtual_board.protocol import SERVICES, describe
from deploy.virtual_board.server import serve
from models.errors import BadInput, CheckFailed
from tests.deploy.packages import ROOT, ToyAccelerator, change_manifest, make_package
from tests.deploy.remote_client import Client

ADDRESS = "127.0.0.11"


@pytest.fixture
def board(package: Package) -> Board:
    return Board(package, PlayedDmas(package, ToyAccelerator(package)), memory=16 << 20, lease=0.3)


@pytest.fixture
def client(board: Board) -> Iterator[Client]:
    with serve(board, ADDRESS):
        yield Client(ADDRESS)


def packed_frames(package: Package, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return random frames as DMA bytes, and their classes."""
    frames = np.random.default_rng(count).normal(size=(count, 1024, 2))
    integers = quantize(frames, package.input)
    classes = ToyAccelerator(package).predict(frames)
    return pack(integers, package.input.datatype).reshape(count, -1), classes


def test_messages_are_those_of_the_installed_pynq() -> None:
    folder = next((ROOT / ".venv-board").glob("lib/python*/site-packages/pynq/remote"), None)
    if folder is None:
        pytest.skip("no .venv-board with pynq; make board-env creates it")
    for name in ("remote_device", "mmio", "buffer"):
        spec = importlib.util.spec_from_file_location(f"{name}_pb2", folder / f"{name}_pb2.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        theirs = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(theirs)
        messages = {message.name: message for message in theirs.message_type}
        for message in describe(name).message_type:
            assert _fields(message) == _fields(messages[message.name]), message.name
        methods = {m.name: m for service in theirs.service for m in service.method}
        for file, ours in SERVICES.values():
            if file == name:
                for method, (request, response, kind) in ours.items():
                    found = methods[method]
                    assert found.input_type == f".{name}.{request}"
                    assert found.output_type == f".{name}.{response}"
                    streams = found.client_streaming, found.server_streaming
                    assert kind == "_".join("stream" if s else "unary" for s in streams)


def _fields(message: descriptor_pb2.DescriptorProto) -> list[tuple]:
    return [(f.name, f.number, f.type, f.label, f.proto3_optional) for f in message.field]


def test_a_transfer_ends_with_the_accelerators_results(
    client: Client, board: Board, package: Package
) -> None:
    client.program(package)
    data, classes = packed_frames(package, 5)
    _, source = client.allocate(data.tobytes())
    result, target = client.allocate(bytes(8))
    base = blocks(package)
    idma, odma = client.dma(base["idma0"]), client.dma(base["odma0"])
    assert client.read(odma, 0).data == 0b1100  # idle and ready
    assert client.start(odma, target, 5) == ""
    assert client.read(odma, 0).data == 1  # waits for input
    assert client.start(idma, source, 5) == ""
    assert client.wait(odma) == ""
    assert client.read(odma, 0).data == 0b1100  # done is cleared by reading
    (answer,) = client.call("RemoteBuffer.read", {"buffer_id": result})
    np.testing.assert_array_equal(list(answer.data[:5]), classes)
    assert answer.data[5:] == bytes(3)
    counters = client.dma(base["virtual_board"])
    words = [client.read(counters, offset).data for offset in range(0, 0x28, 4)]
    cycles = 5000 + 4 * 1028
    assert words == [0x41415242, 2, 250_000, 5, cycles, 0, 5000, 1028 * 256, 5, 0]


def test_large_buffers_come_in_messages_that_grpc_accepts(client: Client, package: Package) -> None:
    client.program(package)
    data = np.random.default_rng(0).bytes(5 << 20)
    name = client.call("RemoteBuffer.allocate", {"size": len(data)}).buffer_id
    parts = [data[i : i + (2 << 20)] for i in range(0, len(data), 2 << 20)]
    client.call("RemoteBuffer.write", *({"buffer_id": name, "data": part} for part in parts))
    answers = client.call("RemoteBuffer.read", {"buffer_id": name})
    assert len(answers) == 2
    assert b"".join(answer.data for answer in answers) == data


@pytest.mark.parametrize(
    ("method", "request_fields", "complaint"),
    [
        ("RemoteBuffer.allocate", {"size": 1 << 30}, "use smaller batches"),
        ("RemoteBuffer.allocate", {"size": -1}, "cannot allocate"),
        ("RemoteBuffer.read", {"buffer_id": "nonsense"}, "buffer is gone"),
        ("RemoteDevice.readfile", {"file_path": "/etc/passwd"}, "has no file"),
        ("RemoteDevice.writefile", {"file_path": "/etc/passwd", "data": b"x"}, "lets nobody write"),
    ],
)
def test_requests_without_a_message_field_are_refused_by_status(
    client: Client, method: str, request_fields: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(grpc.RpcError, match=complaint):
        client.call(method, request_fields)
    assert client.call("RemoteDevice.existsfile", {"file_path": "/proc/version"}).exists


@pytest.mark.parametrize(
    ("firmware", "complaint"),
    [
        (b"\xff\xff\xff\xff" * 8, "runs virtual overlays only"),
        (b"{}", "runs virtual overlays only"),
        (b'{"mark": "aaronnet virtual board", "board": "Pynq-Z2"}', "for another board"),
    ],
)
def test_foreign_firmware_is_refused(
    client: Client, package: Package, firmware: bytes, complaint: str
) -> None:
    with pytest.raises(grpc.RpcError, match=complaint):
        client.program(package, firmware)
    client.program(package)


def test_what_a_real_board_does_silently_wrong_is_refused(client: Client, package: Package) -> None:
    base = blocks(package)
    idma, odma = client.dma(base["idma0"]), client.dma(base["odma0"])
    assert "no overlay" in client.write(idma, 0x10, 0)
    client.program(package)
    idma, odma = client.dma(base["idma0"]), client.dma(base["odma0"])
    data, _ = packed_frames(package, 4)
    _, source = client.allocate(data.tobytes())
    _, target = client.allocate(bytes(4))
    assert "outside the mapped" in client.write(idma, 0x10000, 1)
    assert "outside the mapped" in client.read(idma, 0x10000).msg
    client.start(odma, target, 5)
    assert "never ends" in client.start(idma, source, 4)
    client.start(odma, target, 8)
    assert "outside all buffers" in client.start(idma, source, 8)
    client.start(odma, 0x1234, 4)
    assert "outside all buffers" in client.start(idma, source, 4)
    # And it still works.
    client.start(odma, target, 4)
    assert client.start(idma, source, 4) == ""
    assert client.wait(odma) == ""


def test_two_clients_do_not_mix(board: Board, package: Package) -> None:
    release = threading.Event()

    class Slow(ToyAccelerator):
        def run(self, frames: np.ndarray) -> Run:
            release.wait(20)
            return super().run(frames)

    board.fabric.accelerator = Slow(package)
    with serve(board, ADDRESS):
        first, second = Client(ADDRESS), Client(ADDRESS)
        first.program(package)
        base = blocks(package)
        idma, odma = first.dma(base["idma0"]), first.dma(base["odma0"])
        data, classes = packed_frames(package, 2)
        _, source = first.allocate(data.tobytes())
        result, target = first.allocate(bytes(2))
        first.start(odma, target, 2)
        first.start(idma, source, 2)
        time.sleep(board.lease + 0.1)
        # A transfer runs: however quiet its owner, nobody else gets in.
        with pytest.raises(grpc.RpcError, match="in use by another client"):
            second.program(package)
        assert "in use" in second.call("Mmio.get_mmio", {"base_addr": 0, "length": 64}).msg
        release.set()
        assert first.wait(odma) == ""
        (answer,) = first.call("RemoteBuffer.read", {"buffer_id": result})
        np.testing.assert_array_equal(list(answer.data), classes)
        assert "in use" in second.call("Mmio.get_mmio", {"base_addr": 0, "length": 64}).msg
        time.sleep(board.lease + 0.1)
        second.program(package)  # the first is done
        assert "in use" in first.write(idma, 0x10, 1)
        time.sleep(board.lease + 0.1)
        assert "took the board over" in first.write(idma, 0x10, 1)
        with pytest.raises(grpc.RpcError, match="buffer is gone"):
            first.call("RemoteBuffer.read", {"buffer_id": result})


def test_a_failing_accelerator_is_reported_not_waited_for(board: Board, package: Package) -> None:
    class Deadlocked(ToyAccelerator):
        def run(self, frames: np.ndarray) -> Run:
            raise CheckFailed("no word moved for 1000000 cycles")

    board.fabric.accelerator = Deadlocked(package)
    with serve(board, ADDRESS):
        client = Client(ADDRESS)
        client.program(package)
        base = blocks(package)
        idma, odma = client.dma(base["idma0"]), client.dma(base["odma0"])
        _, source = client.allocate(packed_frames(package, 1)[0].tobytes())
        _, target = client.allocate(bytes(1))
        client.start(odma, target, 1)
        client.start(idma, source, 1)
        assert "no word moved" in client.wait(odma)


def test_a_client_that_dies_halfway_leaves_the_board_usable(
    client: Client, board: Board, package: Package
) -> None:
    board.lease = 1000.0
    client.program(package)
    _, target = client.allocate(bytes(4))
    client.start(client.dma(blocks(package)["odma0"]), target, 4)
    other = Client(ADDRESS)
    with pytest.raises(grpc.RpcError, match="in use by another client"):
        other.program(package)
    client.channel.close()
    deadline = time.monotonic() + 10
    while board.connected(board._owner):
        assert time.monotonic() < deadline, "the board never learns that its client is gone"
        time.sleep(0.01)
    other.program(package)
    odma = other.dma(blocks(package)["odma0"])
    assert other.read(odma, 0).data & 4


def test_garbage_on_the_port_does_no_harm(client: Client, package: Package) -> None:
    import socket

    with socket.create_connection((ADDRESS, 7967)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n" + bytes(1000))
    with pytest.raises(grpc.RpcError, match="larger than max"):
        client.call(
            "RemoteDevice.writefile", {"file_path": "/lib/firmware/a", "data": bytes(5 << 20)}
        )
    client.program(package)


def test_a_changed_fabric_clock_shows_in_the_counters(client: Client, package: Package) -> None:
    client.program(package)
    clocks = client.dma(0xFF5E0000)
    assert client.write(clocks, 0xC0, 1 << 24 | 1 << 16 | 30 << 8) == ""  # 100 MHz halved
    counters = client.dma(blocks(package)["virtual_board"])
    assert client.read(counters, 0x08).data == 125_000


def test_a_taken_port_and_a_bad_address_are_bad_input(board: Board) -> None:
    with serve(board, ADDRESS):
        with pytest.raises(BadInput, match="another virtual board"), serve(board, ADDRESS):
            pass
        with pytest.raises(BadInput, match="no IP address"), serve(board, "board.local"):
            pass


def test_the_overlay_follows_the_package(tmp_path: Path) -> None:
    package = make_package(tmp_path / "package")
    first = write_overlay(package)
    assert first.with_suffix(".hwh").is_file()
    assert write_overlay(package).read_bytes() == first.read_bytes()
    change_manifest(package.folder, clock_mhz=200.0)
    second = write_overlay(read_package(tmp_path / "package"))
    assert not first.exists() and second != first
    assert 'VALUE="200.000"' in second.with_suffix(".hwh").read_text()
    assert read_payload(b"no json") is None
