"""pynq's side of the protocol, by hand."""

import time
from typing import Any

import grpc

from deploy.board.package import Package
from deploy.virtual_board.protocol import CLASSES, SERVICES


class Client:
    """Able to do what pynq would not."""

    def __init__(self, address: str):
        # Channels share a connection unless told otherwise; every client is to be another peer.
        self.channel = grpc.insecure_channel(
            f"{address}:7967",
            options=[("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)],
        )

    def call(self, method: str, *requests: dict[str, Any]) -> Any:
        service, name = method.split(".")
        file, methods = SERVICES[service]
        request, response, kind = methods[name]
        make = getattr(self.channel, kind)
        stub = make(
            f"/{file}.{service}/{name}",
            request_serializer=CLASSES[f"{file}.{request}"].SerializeToString,
            response_deserializer=CLASSES[f"{file}.{response}"].FromString,
        )
        messages = [CLASSES[f"{file}.{request}"](**fields) for fields in requests]
        answer = stub(iter(messages) if kind.startswith("stream") else messages[0], timeout=20)
        return list(answer) if kind.endswith("stream") else answer

    def program(self, package: Package, firmware: bytes | None = None) -> None:
        if firmware is None:
            bit = package.overlay.read_bytes()
            data = bit[bit.index(b"e", bit.index(b"00:00:00")) + 5 :]
            firmware = b"".join(data[i : i + 4][::-1] for i in range(0, len(data), 4))
        write = "RemoteDevice.writefile"
        self.call("RemoteDevice.set_bitstream_attrs", {"binfile_name": "a.bin"})
        self.call(write, {"file_path": "/lib/firmware/a.bin", "data": firmware})
        self.call(write, {"file_path": "/sys/class/fpga_manager/fpga0/flags", "data": b"0"})
        self.call(write, {"file_path": "/sys/class/fpga_manager/fpga0/firmware", "data": b"a.bin"})

    def allocate(self, data: bytes) -> tuple[str, int]:
        name = self.call("RemoteBuffer.allocate", {"size": len(data)}).buffer_id
        half = len(data) // 2
        parts = [{"buffer_id": name, "data": part} for part in (data[:half], data[half:])]
        assert not self.call("RemoteBuffer.write", *parts).msg
        return name, self.call("RemoteBuffer.physical_address", {"buffer_id": name}).address

    def dma(self, base: int) -> str:
        return self.call("Mmio.get_mmio", {"base_addr": base, "length": 0x10000}).mmio_id

    def write(self, mmio: str, offset: int, word: int) -> str:
        data = word.to_bytes(4, "little")
        return self.call("Mmio.write", {"mmio_id": mmio, "offset": offset, "data": data}).msg

    def read(self, mmio: str, offset: int) -> Any:
        return self.call("Mmio.read", {"mmio_id": mmio, "offset": offset, "length": 4})

    def start(self, dma: str, address: int, frames: int) -> str:
        messages = [
            self.write(dma, 0x10, address & 0xFFFFFFFF),
            self.write(dma, 0x14, address >> 32),
            self.write(dma, 0x1C, frames),
            self.write(dma, 0, 1),
        ]
        return next((message for message in messages if message), "")

    def wait(self, dma: str) -> str:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            answer = self.read(dma, 0)
            if answer.msg or answer.data & 2:
                return answer.msg
        raise AssertionError("the transfer did not end")
