"""Files and archives of others: their members, and their bytes, decompressed, within bounds.

Every compressed stream is read to its end, where its checksum is; a reader that stops early has damaged data.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, NamedTuple

from tqdm import tqdm

from recbole_cfgdiff.errors import ConfigError

# What gzip, bz2, lzma, zipfile and tarfile can raise on bytes that are not as they should be.
UNREADABLE = (
    gzip.BadGzipFile,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    tarfile.TarError,
    struct.error,
    ValueError,
    ArithmeticError,
    LookupError,
    MemoryError,
    RuntimeError,
)

# Text and arrays of ids are packed ten to fifty times; bombs a thousand times.
_MOST_PACKED = 200
_SMALL = 64 << 20
_MOST_MEMBERS = 100_000
_MOST_AT_ONCE = 1 << 20
_BLOCK = 1 << 16
_ZIP_END = struct.Struct("<4s4H2LH")


def _gunzip(stream: Any) -> Any:
    return gzip.GzipFile(fileobj=stream)


_DECOMPRESSORS: dict[bytes, Callable[[Any], Any]] = {
    b"\x1f\x8b": _gunzip,
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}
_LONGEST_MAGIC = max(map(len, _DECOMPRESSORS))


class TextFile(NamedTuple):
    """A file, or a member of an archive, to be read line by line.

    Attributes:
        path: the file on disk.
        member: name of the member, or None for the file itself.
    """

    path: Path
    member: str | None = None

    @property
    def where(self) -> PurePath:
        """Its folder and name, on disk or in the archive."""
        return PurePath(self.member or self.path)

    def __str__(self) -> str:
        return f"{self.path}:{self.member}" if self.member else str(self.path)


@contextmanager
def told_where(where: Path | TextFile) -> Iterator[None]:
    """Turn what reading a file raises into a ConfigError.

    Raises:
        ConfigError: if the file is missing, truncated or damaged.
    """
    try:
        yield
    except ConfigError:
        raise
    except UNREADABLE as error:
        raise ConfigError(f"{where}: truncated or damaged ({error or type(error).__name__})") from error
    except OSError as error:  # bz2 has no class of its own for damage
        raise ConfigError(f"{where}: {error.strerror or f'truncated or damaged ({error})'}") from error


@contextmanager
def opened(file: TextFile) -> Iterator[Any]:
    """A buffered binary stream of a file's bytes, decompressed, with a progress bar over the bytes on disk.

    At the end what is left of all streams is read, so that their checksums count. Raises ``UNREADABLE`` and OSError.
    """
    with ExitStack() as stack:
        raw = stack.enter_context(file.path.open("rb"))
        counted = stack.enter_context(
            tqdm.wrapattr(raw, "read", total=file.path.stat().st_size, desc=file.path.name, disable=None)
        )
        streams = [counted] if file.member is None else list(_member_streams(counted, file))
        beginning = streams[-1].peek(_LONGEST_MAGIC) if file.member else _beginning(file.path)
        open_ = _gunzip if file.where.name.lower().endswith(".gz") else _decompressor(beginning)
        if open_ is not None:
            streams.append(open_(streams[-1]))
        yield streams[-1]
        for stream in reversed(streams if len(streams) > 1 else []):
            while stream.read(_BLOCK):
                pass


def read_exactly(stream: Any, size: int) -> bytes:
    """``size`` bytes that are the last ones, in memory that grows by what there really is.

    Raises:
        EOFError: if there are fewer.
        ValueError: if there are more.
    """
    content = bytearray()
    while len(content) < size:
        block = stream.read(min(_MOST_AT_ONCE, size - len(content)))
        if not block:
            raise EOFError(f"expected {size} bytes, found {len(content)}")
        content += block
    if stream.read(1):
        raise ValueError(f"expected {size} bytes, found more")
    return bytes(content)


def check_packing(where: object, size: int, packed: int) -> None:
    """Refuse what says of itself that it unpacks to far more than a data set does.

    Args:
        where: for the message.
        size: bytes after unpacking.
        packed: bytes before.

    Raises:
        ConfigError: above 64 MiB, and 200 times the size.
    """
    if size > _SMALL and size > _MOST_PACKED * packed:
        raise ConfigError(
            f"{where}: refused, {size >> 20} MiB packed into {packed >> 10} KiB are no data set; unpack it by hand"
        )


def _check_inside(path: Path, name: str) -> None:
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise ConfigError(f"{path}: refused, its member {name} points outside of the archive")


def members_of(path: Path) -> list[str] | None:
    """Names of the files in an archive, None if it is none. Raises ``UNREADABLE``, OSError and ConfigError."""
    return _zip_members(path) if _is_zip(path) else _tar_members(path)


def _is_zip(path: Path) -> bool:
    return path.suffix.lower() == ".zip" or zipfile.is_zipfile(path)


def _zip_members(path: Path) -> list[str]:
    """Names of the files in a zip, each of which is where its table says."""
    with zipfile.ZipFile(path) as archive:
        if _zip_count(path) not in (len(archive.infolist()), 0xFFFF):  # which says that it stands elsewhere
            raise zipfile.BadZipFile("its table has not the length that it says")
        for member in archive.infolist():
            _check_inside(path, member.filename)
            check_packing(f"{path}:{member.filename}", member.file_size, member.compress_size)
            archive.open(member).close()  # raises if the name before the file is not that in the table
        return [member.filename for member in archive.infolist() if not member.is_dir()]


def _zip_count(path: Path) -> int:
    """How many members a zip says that it has.

    zipfile does not look at it: a length that is damaged in the table may hide the members behind.
    """
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _ZIP_END.size - 0xFFFF))
        end = file.read()
    return _ZIP_END.unpack_from(end, end.rfind(b"PK\x05\x06"))[4]


class _Blocks:
    """What tarfile reads from: refuses to read a large header at once, and keeps what was read last."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.last = b""

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _MOST_AT_ONCE:
            raise tarfile.ReadError(f"a header of {size} bytes")
        self.last = self._stream.read(size)
        return self.last

    def seek(self, position: int) -> int:
        return self._stream.seek(position)

    def tell(self) -> int:
        return self._stream.tell()

    def seekable(self) -> bool:
        return True


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_LONGEST_MAGIC)


def _decompressor(beginning: bytes) -> Callable[[Any], Any] | None:
    """What unpacks a file that begins so, None if it is not compressed."""
    return next((open_ for magic, open_ in _DECOMPRESSORS.items() if beginning.startswith(magic)), None)


def _unpacked(raw: Any) -> Any:
    """The stream in a compressed tar, ``raw`` itself if it is not compressed."""
    open_ = _decompressor(raw.read(_LONGEST_MAGIC))
    raw.seek(0)
    return open_(raw) if open_ else raw


def _tar(blocks: _Blocks) -> tarfile.TarFile | None:
    """None if it is no tar."""
    try:
        return tarfile.TarFile(fileobj=blocks)  # type: ignore[arg-type]
    except tarfile.ReadError:
        return None


def _tar_members(path: Path) -> list[str] | None:
    """Names of the files in a tar, None if it is none. Its contents are not checked yet."""
    with path.open("rb") as raw:
        blocks = _Blocks(_unpacked(raw))
        archive = _tar(blocks)
        if archive is None:
            return None
        names = []
        for number, member in enumerate(archive):
            _check_inside(path, member.name)
            check_packing(f"{path}:{member.name}", member.size, path.stat().st_size)
            if number == _MOST_MEMBERS or member.size < 0:
                raise ConfigError(f"{path}: refused, more than {_MOST_MEMBERS} members, or one of a negative size")
            if member.isfile():
                names.append(member.name)
        # tarfile takes a header that is damaged for the end.
        if blocks.last != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("a header is damaged, or the end is missing")
        return names


def _member_streams(raw: Any, file: TextFile) -> Iterator[Any]:
    """The streams of which the last one is the member: what is to be read to its end."""
    if _is_zip(file.path):
        yield zipfile.ZipFile(raw).open(str(file.member))  # noqa: SIM115, read until `raw` is closed
        return
    unpacked = _unpacked(raw)
    if unpacked is not raw:
        yield unpacked
    archive = _tar(_Blocks(unpacked))
    for member in archive or ():
        if member.name == file.member and member.isfile():
            stream = archive.extractfile(member) if archive else None
            if stream is not None:
                yield stream
                return
    raise ConfigError(f"{file}: there is no such member")
