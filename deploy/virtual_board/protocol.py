"""PYNQ.remote's gRPC messages and services, as pynq 4.0.0 speaks them.

pynq ships modules generated from its .proto files, but importing them wants all of pynq and a numpy
older than FINN+'s. The messages are few, so they are listed here; a test compares them field by
field with the installed pynq's.
"""

from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

# message -> fields in the order of their numbers from 1 on: name:type, "?" marks proto3 optional;
# "-" skips a number.
_MESSAGES: dict[str, dict[str, str]] = {
    "remote_device": {
        "ReadFileRequest": "file_path:string",
        "ReadFileResponse": "data:bytes",
        "WriteFileRequest": "file_path:string data:bytes",
        "WriteFileResponse": "",
        "ExistsFileRequest": "file_path:string",
        "ExistsFileResponse": "exists:bool",
        "SetBitstreamAttrsRequest": "binfile_name:string partial:bool",
        "SetBitstreamAttrsResponse": "status:bool",
    },
    "mmio": {
        "GetMmioRequest": "base_addr:uint64 length:uint64",
        "GetMmioResponse": "status:bool msg:string? mmio_id:string?",
        "ReadRequest": "mmio_id:string length:uint64 offset:uint64 word_order:string",
        "ReadResponse": "status:bool msg:string? data:uint32?",
        "WriteRequest": "mmio_id:string offset:uint64 data:bytes",
        "WriteResponse": "status:bool msg:string?",
    },
    "buffer": {
        "AddressRequest": "buffer_id:string",
        "AddressResponse": "- msg:string? address:uint64?",
        "InvalidateRequest": "buffer_id:string",
        "InvalidateResponse": "- msg:string?",
        "FlushRequest": "buffer_id:string",
        "FlushResponse": "- msg:string?",
        "AllocateRequest": "size:int32 dtype:string cacheable:bool",
        "AllocateResponse": "- msg:string? buffer_id:string?",
        "BufferWriteRequest": "buffer_id:string data:bytes start:int32 end:int32",
        "BufferWriteResponse": "- msg:string?",
        "BufferReadRequest": "buffer_id:string start:int32 end:int32",
        "BufferReadResponse": "- msg:string? data:bytes?",
        "FreeBufferRequest": "buffer_id:string",
        "FreeBufferResponse": "- msg:string?",
    },
}

# service -> (file, method -> (request, response, kind)); kind: unary or stream on each side
SERVICES: dict[str, tuple[str, dict[str, tuple[str, str, str]]]] = {
    "RemoteDevice": (
        "remote_device",
        {
            "existsfile": ("ExistsFileRequest", "ExistsFileResponse", "unary_unary"),
            "readfile": ("ReadFileRequest", "ReadFileResponse", "unary_stream"),
            "writefile": ("WriteFileRequest", "WriteFileResponse", "stream_unary"),
            "set_bitstream_attrs": (
                "SetBitstreamAttrsRequest",
                "SetBitstreamAttrsResponse",
                "unary_unary",
            ),
        },
    ),
    "Mmio": (
        "mmio",
        {
            "get_mmio": ("GetMmioRequest", "GetMmioResponse", "unary_unary"),
            "read": ("ReadRequest", "ReadResponse", "unary_unary"),
            "write": ("WriteRequest", "WriteResponse", "unary_unary"),
        },
    ),
    "RemoteBuffer": (
        "buffer",
        {
            "allocate": ("AllocateRequest", "AllocateResponse", "unary_unary"),
            "write": ("BufferWriteRequest", "BufferWriteResponse", "stream_unary"),
            "read": ("BufferReadRequest", "BufferReadResponse", "unary_stream"),
            "freebuffer": ("FreeBufferRequest", "FreeBufferResponse", "unary_unary"),
            "flush": ("FlushRequest", "FlushResponse", "unary_unary"),
            "invalidate": ("InvalidateRequest", "InvalidateResponse", "unary_unary"),
            "physical_address": ("AddressRequest", "AddressResponse", "unary_unary"),
        },
    ),
}


def describe(package: str) -> descriptor_pb2.FileDescriptorProto:
    """Return the descriptor of one of the three .proto files' messages."""
    file = descriptor_pb2.FileDescriptorProto(
        name=f"aaronnet/{package}.proto", package=package, syntax="proto3"
    )
    for name, fields in _MESSAGES[package].items():
        message = file.message_type.add(name=name)
        for number, field in enumerate(fields.split(), start=1):
            if field == "-":
                continue
            label, _, kind = field.rstrip("?").partition(":")
            optional = field.endswith("?")
            entry = message.field.add(
                name=label,
                number=number,
                label=descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL,
                type=descriptor_pb2.FieldDescriptorProto.Type.Value(f"TYPE_{kind.upper()}"),
                proto3_optional=optional,
            )
            if optional:
                entry.oneof_index = len(message.oneof_decl)
                message.oneof_decl.add(name=f"_{label}")
    return file


def _classes() -> dict[str, type[Message]]:
    # A pool of its own: pynq's generated modules may live in the same process.
    pool = descriptor_pool.DescriptorPool()
    found = {}
    for package, messages in _MESSAGES.items():
        pool.Add(describe(package))
        for name in messages:
            descriptor = pool.FindMessageTypeByName(f"{package}.{name}")
            found[f"{package}.{name}"] = message_factory.GetMessageClass(descriptor)
    return found


CLASSES = _classes()
"""Message classes by package.Name."""


def handlers(methods: dict[str, Callable[..., Any]]) -> list[grpc.GenericRpcHandler]:
    """Return gRPC handlers of all services.

    Args:
        methods: Service.method -> function(request or iterator, context).
    """
    result = []
    for service, (package, known) in SERVICES.items():
        table = {}
        for method, (request, response, kind) in known.items():
            make = getattr(grpc, f"{kind}_rpc_method_handler")
            table[method] = make(
                methods[f"{service}.{method}"],
                request_deserializer=CLASSES[f"{package}.{request}"].FromString,
                response_serializer=CLASSES[f"{package}.{response}"].SerializeToString,
            )
        result.append(grpc.method_handlers_generic_handler(f"{package}.{service}", table))
    return result
