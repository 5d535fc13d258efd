"""What an ELF file asks of the system it runs on: the libraries it needs and the versions of their symbols.

Enough of the format for x86-64 (64 bits, little-endian). Source: elf(5); "Symbol Versioning" of the Linux Standard Base.
"""

import re
import struct
from pathlib import Path
from typing import Iterator, List, NamedTuple, Set, Tuple

_DYNAMIC, _VERSIONS_NEEDED = 6, 0x6FFFFFFE  # section types SHT_DYNAMIC, SHT_GNU_verneed
_NEEDED = 1  # the tag DT_NEEDED


class Needs(NamedTuple):
    """What a file needs."""

    libraries: List[str]
    versions: Set[str]

    def glibc(self) -> Tuple[int, int]:
        """The oldest glibc that has every symbol the file asks for."""
        found = (re.fullmatch(r"GLIBC_(\d+)\.(\d+)(?:\.\d+)?", version) for version in self.versions)
        return max(((int(match[1]), int(match[2])) for match in found if match), default=(2, 2))


def needs(path: Path) -> Needs:
    """Reads the file at `path`; ValueError if it is no ELF file for x86-64."""
    data = Path(path).read_bytes()
    if data[:6] != b"\x7fELF\x02\x01" or struct.unpack_from("<H", data, 18)[0] != 62:
        raise ValueError(f"{path} is no ELF file for x86-64")
    table, = struct.unpack_from("<Q", data, 40)
    size, count = struct.unpack_from("<HH", data, 58)
    sections = [struct.unpack_from("<IIQQQQIIQQ", data, table + number * size) for number in range(count)]
    libraries: List[str] = []
    versions: Set[str] = set()
    for _name, kind, _flags, _address, offset, length, link, entries, _align, _entry in sections:
        texts = sections[link][4] if link < count else 0
        if kind == _DYNAMIC:
            for tag, value in struct.iter_unpack("<qQ", data[offset : offset + length]):
                if tag == _NEEDED:
                    libraries.append(_text(data, texts + value))
        elif kind == _VERSIONS_NEEDED:
            versions.update(_text(data, texts + name) for name in _version_names(data, offset, entries))
    return Needs(libraries, versions)


def _version_names(data: bytes, offset: int, files: int) -> Iterator[int]:
    """Where the names lie: a list of files, each with a list of versions, linked by distances."""
    for _ in range(files):
        _, versions, _file, first, following = struct.unpack_from("<HHIII", data, offset)
        place = offset + first
        for _ in range(versions):
            _hash, _flags, _other, name, further = struct.unpack_from("<IHHII", data, place)
            yield name
            place += further
        offset += following


def _text(data: bytes, start: int) -> str:
    return data[start : data.index(b"\0", start)].decode()
