"""gRPC server of a virtual board, as pynq's RemoteDevice expects one on port 7967."""

import concurrent.futures
import errno
import ipaddress
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import psutil

from deploy.virtual_board.board import Board
from deploy.virtual_board.memory import Refused
from deploy.virtual_board.protocol import CLASSES, handlers
from models.errors import BadInput

PORT = 7967
"""Fixed in pynq."""
CHUNK = 3 << 20  # gRPC clients accept messages of 4 MiB
THREADS = 16


@contextmanager
def serve(board: Board, address: str = "127.0.0.1", port: int = PORT) -> Iterator[str]:
    """Run the server while the context lasts; yields ADDRESS:PORT.

    Args:
        board: what to serve.
        address: of a local interface; anyone who can reach it can use the board.
        port: pynq knows none but 7967.

    Raises:
        BadInput: the address is no IP address of this machine, or the port is taken.
    """
    target = check_address(address, port)
    server = grpc.server(
        concurrent.futures.ThreadPoolExecutor(THREADS, thread_name_prefix="board"),
        # Without this, a second server on the port would silently share its clients.
        options=[("grpc.so_reuseport", 0)],
    )
    board.connected = connected
    server.add_generic_rpc_handlers(tuple(handlers(_methods(board))))
    try:
        server.add_insecure_port(target)
    except RuntimeError as error:
        raise _taken(target) from error
    server.start()
    try:
        yield target
    finally:
        server.stop(grace=0.5).wait()


def check_address(address: str, port: int = PORT) -> str:
    """Return ADDRESS:PORT once something could listen there.

    Raises:
        BadInput: as `serve`.
    """
    try:
        shown = ipaddress.ip_address(address)
    except ValueError as error:
        raise BadInput(f"{address!r} is no IP address; use 127.0.0.1") from error
    target = f"[{shown}]:{port}" if shown.version == 6 else f"{shown}:{port}"
    family = socket.AF_INET6 if shown.version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As gRPC does: connections of a board that just ended do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
            probe.listen()
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise _taken(target) from error
            raise BadInput(f"cannot listen on {target}: {error.strerror}") from error
    return target


def _taken(target: str) -> BadInput:
    return BadInput(
        f"cannot listen on {target}: another virtual board (or PYNQ.remote server) uses it; "
        "stop that one, or serve on another loopback address: --address 127.0.0.2"
    )


def connected(client: str) -> bool:
    """Whether a gRPC peer ("ipv4:127.0.0.1:50000") is still connected to this process.

    gRPC tells a server nothing about connections; the operating system does.
    """
    # The address stands there in several spellings (URL-quoted, IPv4 within IPv6); a port of a
    # connection to this process is as good.
    port = client.rpartition(":")[2]
    return any(
        connection.raddr
        and str(connection.raddr.port) == port
        and connection.status == psutil.CONN_ESTABLISHED
        for connection in psutil.Process().net_connections("tcp")
    )


def _methods(board: Board) -> dict[str, Callable[..., Any]]:
    """Return Service.method -> function for the three services."""

    def answer(kind: str, context: grpc.ServicerContext, work: Callable[[str], dict]) -> Any:
        """Return a message of `kind` with what `work` returns, or with why it was refused."""
        message = CLASSES[kind]
        try:
            return message(**work(context.peer()))
        except Refused as error:
            return message(msg=str(error))

    def checked(context: grpc.ServicerContext, work: Callable[[], Any]) -> Any:
        """Return what `work` returns; a refusal ends the call, for answers without a message."""
        try:
            return work()
        except Refused as error:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))

    def chunks(kind: str, data: bytes) -> Iterator[Any]:
        for start in range(0, len(data), CHUNK):
            yield CLASSES[kind](data=data[start : start + CHUNK])

    def exists(request: Any, context: grpc.ServicerContext) -> Any:
        return CLASSES["remote_device.ExistsFileResponse"](exists=board.exists(request.file_path))

    def read_file(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        data = checked(context, lambda: board.read_file(request.file_path))
        yield from chunks("remote_device.ReadFileResponse", data)

    def write_file(requests: Iterator[Any], context: grpc.ServicerContext) -> Any:
        path, data = "", bytearray()
        for request in requests:
            path = path or request.file_path
            data += request.data
            if request.file_path != path or len(data) > 80 << 20:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, "one file of up to 64 MiB, please")
        checked(context, lambda: board.write_file(context.peer(), path, bytes(data)))
        return CLASSES["remote_device.WriteFileResponse"]()

    def set_attributes(request: Any, context: grpc.ServicerContext) -> Any:
        checked(context, lambda: board.forget_firmware(context.peer(), request.binfile_name))
        return CLASSES["remote_device.SetBitstreamAttrsResponse"](status=True)

    def get_mmio(request: Any, context: grpc.ServicerContext) -> Any:
        return answer(
            "mmio.GetMmioResponse",
            context,
            lambda peer: {
                "mmio_id": board.map(peer, request.base_addr, request.length),
                "status": True,
            },
        )

    def read_word(request: Any, context: grpc.ServicerContext) -> Any:
        def work(peer: str) -> dict:
            word = board.read_word(peer, request.mmio_id, request.offset)
            mask = (1 << 8 * min(request.length or 4, 4)) - 1
            return {"data": word & mask, "status": True}

        return answer("mmio.ReadResponse", context, work)

    def write_words(request: Any, context: grpc.ServicerContext) -> Any:
        def work(peer: str) -> dict:
            board.write_words(peer, request.mmio_id, request.offset, request.data)
            return {"status": True}

        return answer("mmio.WriteResponse", context, work)

    def allocate(request: Any, context: grpc.ServicerContext) -> Any:
        # The client never looks at this answer's message.
        name = checked(context, lambda: board.allocate(context.peer(), request.size))
        return CLASSES["buffer.AllocateResponse"](buffer_id=name)

    def write_buffer(requests: Iterator[Any], context: grpc.ServicerContext) -> Any:
        def work(peer: str) -> dict:
            start = 0
            for request in requests:
                board.write_buffer(peer, request.buffer_id, start, request.data)
                start += len(request.data)
            return {}

        return answer("buffer.BufferWriteResponse", context, work)

    def read_buffer(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        buffer = checked(context, lambda: board.buffer(context.peer(), request.buffer_id))
        yield from chunks("buffer.BufferReadResponse", bytes(buffer.data))

    def free(request: Any, context: grpc.ServicerContext) -> Any:
        board.free(context.peer(), request.buffer_id)
        return CLASSES["buffer.FreeBufferResponse"]()

    def sync(kind: str) -> Callable[..., Any]:
        def same_memory(request: Any, context: grpc.ServicerContext) -> Any:
            return answer(
                kind, context, lambda peer: {} if board.buffer(peer, request.buffer_id) else {}
            )

        return same_memory

    def physical_address(request: Any, context: grpc.ServicerContext) -> Any:
        return answer(
            "buffer.AddressResponse",
            context,
            lambda peer: {"address": board.buffer(peer, request.buffer_id).address},
        )

    return {
        "RemoteDevice.existsfile": exists,
        "RemoteDevice.readfile": read_file,
        "RemoteDevice.writefile": write_file,
        "RemoteDevice.set_bitstream_attrs": set_attributes,
        "Mmio.get_mmio": get_mmio,
        "Mmio.read": read_word,
        "Mmio.write": write_words,
        "RemoteBuffer.allocate": allocate,
        "RemoteBuffer.write": write_buffer,
        "RemoteBuffer.read": read_buffer,
        "RemoteBuffer.freebuffer": free,
        "RemoteBuffer.flush": sync("buffer.FlushResponse"),
        "RemoteBuffer.invalidate": sync("buffer.InvalidateResponse"),
        "RemoteBuffer.physical_address": physical_address,
    }
