"""How vectors are written: msgpack as good senders write it and as evil ones do, and the JSON form beside it."""
import base64
import struct

import msgpack


class Pairs(list):
    """A map as a list of pairs, so that keys can repeat or be no text."""


class Raw(bytes):
    """Bytes that already are msgpack, or pretend to be."""


def head(n, fix, fix_max, wide):
    if n <= fix_max:
        return bytes([fix | n])
    return bytes([wide]) + struct.pack(">H", n) if n < 65536 else bytes([wide + 1]) + struct.pack(">I", n)


def pack(value):
    if isinstance(value, Raw):
        return bytes(value)
    if isinstance(value, (dict, Pairs)):
        items = list(value.items()) if isinstance(value, dict) else value
        return head(len(items), 0x80, 15, 0xDE) + b"".join(pack(k) + pack(v) for k, v in items)
    if isinstance(value, list):
        return head(len(value), 0x90, 15, 0xDC) + b"".join(pack(item) for item in value)
    return msgpack.packb(value, use_bin_type=True)


def b64(data):
    return base64.b64encode(data).decode()


def as_bytes(data):
    return data.encode() if isinstance(data, str) else data


def without(message, field):
    return {key: value for key, value in message.items() if key != field}


def jsonable(value):
    """The JSON form: bytes as base64."""
    if isinstance(value, bytes):
        return b64(value)
    if isinstance(value, dict):
        return {key: jsonable(inner) for key, inner in value.items()}
    return [jsonable(inner) for inner in value] if isinstance(value, list) else value
