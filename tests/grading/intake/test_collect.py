"""Archives from a learning platform: good ones are unpacked, bad ones passed over."""

import gzip
import io
import logging
import os
import random
import shutil
import signal
import stat
import struct
import subprocess
import sys
import tarfile
import tracemalloc
import zipfile

import pytest
from traitlets.config import Config

from tutor_lib.grading.intake import archives
from tutor_lib.grading.intake.archives import BadArchive, unpack
from tutor_lib.grading.intake.collect import SafeCollector, SafeExtractor
from tutor_lib.grading.intake.folder import Refused

pytestmark = pytest.mark.xdist_group("intake")  # the course is made once

GOOD = {"bob/tiny.ipynb": b'{"a": 1}', "bob/data/points.csv": b"1,2\n", "ünï.txt": b""}


def zipped(path, members, **more):
    """A zip of (name or ZipInfo, data), in order."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members:
            file.writestr(name, data, **more)
    return path


def tarred(path, members, mode="w:gz"):
    """A tar of (name or TarInfo, data), in order."""
    with tarfile.open(path, mode) as file:
        for name, data in members:
            info = tarfile.TarInfo(name) if isinstance(name, str) else name
            if info.isreg():
                info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return path


def special(kind, name="link", target="/etc/passwd"):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def zip_mode(name, mode):
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, mode << 16
    return info


@pytest.fixture
def outside(tmp_path):
    """Fails if anything but the target's folder changes."""
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    yield tmp_path
    assert sorted(os.listdir(tmp_path)) == ["in", "out"]


def unpacked(folder):
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


def pack_good(path):
    if path.suffix == ".zip":
        return zipped(path, GOOD.items())
    return tarred(path, GOOD.items(), "w:gz" if path.suffix == ".gz" else "w")


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz", "a.tar", "a.gz"])
def test_a_good_archive(name, outside):
    unpack(pack_good(outside / "in" / name), outside / "out" / "a")
    assert unpacked(outside / "out" / "a") == GOOD
    assert os.listdir(outside / "out") == ["a"]


def test_folders_and_what_programs_leave_behind(outside):
    members = [("bob/", b""), ("bob/./a", b"1"), ("__MACOSX/._a", b"2"), ("bob/.git/x", b"3")]
    unpack(zipped(outside / "in/a.zip", members), outside / "out/a")
    assert unpacked(outside / "out/a") == {"bob/a": b"1"}


NAMES = ["../evil", "a/../../evil", "/evil", "//evil", "C:/evil", "C:evil", "..", "a\\..\\evil",
         "a/../b", "a//b", "a\x1b[2J", "\n", "x" * 300, "/".join("a" * 40)]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_that_lead_elsewhere(name, kind, outside):
    pack, suffix = {"zip": (zipped, "zip"), "tar": (tarred, "tar.gz")}[kind]
    path = pack(outside / f"in/a.{suffix}", [("good", b"1"), (name, b"2")])
    with pytest.raises(BadArchive):
        unpack(path, outside / "out/a")
    assert os.listdir(outside / "out") == []


TYPES = [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, b"Z"]


@pytest.mark.parametrize("kind", TYPES)
def test_links_and_devices_in_a_tar(kind, outside):
    path = tarred(outside / "in/a.tar", [(special(kind), b""), ("link/evil", b"1")], "w")
    with pytest.raises(BadArchive, match="link or a special file"):
        unpack(path, outside / "out/a")
    assert os.listdir(outside / "out") == []


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_links_and_devices_in_a_zip(kind, outside):
    info = zip_mode("link", kind | 0o777)
    path = zipped(outside / "in/a.zip", [(info, b"/etc"), ("link/passwd", b"1")])
    with pytest.raises(BadArchive, match="link or a special file"):
        unpack(path, outside / "out/a")


def test_modes_are_not_kept(outside):
    path = zipped(outside / "in/a.zip", [(zip_mode("a", stat.S_IFREG | 0o6777), b"1")])
    unpack(path, outside / "out/a")
    assert (outside / "out/a/a").stat().st_mode & 0o7111 == 0


TWICE = [("a", "a"), ("a", "A"), ("\u00e9", "e\u0301"), ("straße", "STRASSE"), ("a/b", "A/c"),
         ("a", "a/b"), ("a/b", "a")]  # fmt: skip


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("names", TWICE)
@pytest.mark.parametrize("pack", [zipped, tarred])
def test_names_that_meet(names, pack, outside):
    path = pack(outside / "in/a.zip", [(name, b"1") for name in names])
    with pytest.raises(BadArchive):
        unpack(path, outside / "out/a")
    assert os.listdir(outside / "out") == []


def test_names_that_are_not_utf8(outside):
    path = tarred(outside / "in/a.tar", [(os.fsdecode(b"caf\xe9"), b"1")], "w")
    with pytest.raises(BadArchive, match="not plain"):
        unpack(path, outside / "out/a")


BOMB = 10 << 20


@pytest.fixture
def small(monkeypatch):
    """Caps that a test can reach."""
    monkeypatch.setattr(archives, "BYTES", 1 << 20)
    monkeypatch.setattr(archives, "MEMBERS", 100)


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_a_bomb(pack, outside, small):
    path = pack(outside / "in/a.gz", [("zeros", bytes(BOMB))])
    assert path.stat().st_size < BOMB / 100
    with pytest.raises(BadArchive, match="far more than its own size"):
        unpack(path, outside / "out/a")
    assert os.listdir(outside / "out") == []


def test_a_bomb_of_many_files(outside, small):
    path = zipped(outside / "in/a.zip", [(f"{n}", bytes(1 << 18)) for n in range(40)])
    with pytest.raises(BadArchive, match="far more"):
        unpack(path, outside / "out/a")


def test_a_bomb_that_lies_about_its_size(outside, small):
    """The sizes in its headers say one byte."""
    path = zipped(outside / "in/a.zip", [("zeros", bytes(BOMB))])
    data = path.read_bytes().replace(struct.pack("<L", BOMB), struct.pack("<L", 1))
    path.write_bytes(data)
    with pytest.raises(BadArchive):
        unpack(path, outside / "out/a")


def test_a_bomb_in_a_header(outside, small):
    """tarfile reads a long name into memory, whatever its size."""
    info = tarfile.TarInfo("a")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 64 << 20
    path = outside / "in/a.tar.gz"
    with gzip.open(path, "wb", 1) as file:
        file.write(info.tobuf())
        for _ in range(64):
            file.write(b"a" * (1 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(BadArchive, match="far more"):
            unpack(path, outside / "out/a")
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_too_many_files(pack, outside, small):
    path = pack(outside / "in/a.gz", [(f"{n}", b"") for n in range(101)])
    with pytest.raises(BadArchive, match="more than 100 files"):
        unpack(path, outside / "out/a")


def test_a_member_of_negative_size_does_not_go_round_for_ever(outside):
    """CVE-2025-8194: where it ends, it begins."""
    block = bytearray(tarfile.TarInfo("a").tobuf(tarfile.GNU_FORMAT))
    block[124:136] = (-512).to_bytes(12, "big", signed=True)  # the size
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    path = outside / "in/a.tar"
    path.write_bytes(tarfile.TarInfo("b").tobuf() + block + bytes(1024))
    signal.alarm(10)
    with pytest.raises(BadArchive, match="broken"):
        unpack(path, outside / "out/a")


def test_encrypted(outside):
    path = zipped(outside / "in/a.zip", [("a", b"1")])
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(BadArchive, match=r"^it is encrypted$"):
        unpack(path, outside / "out/a")


def test_a_file_without_a_name(outside):
    """zipfile looks at a name's last letter. The name's bytes become an empty extra field."""
    data = bytearray(zipped(outside / "in/a.zip", [("abcd", b"1")]).read_bytes())
    entry = data.index(b"PK\x01\x02")
    data[entry + 28 : entry + 32] = struct.pack("<HH", 0, 4)
    data[entry + 46 : entry + 50] = struct.pack("<HH", 0x201, 0)
    (outside / "in/a.zip").write_bytes(data)
    with pytest.raises(BadArchive, match="broken"):
        unpack(outside / "in/a.zip", outside / "out/a")


def test_packed_with_lzma(outside):
    path = outside / "in/a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as file:
        file.writestr("a", b"1")
    with pytest.raises(BadArchive, match="plain zip"):
        unpack(path, outside / "out/a")


def test_a_sparse_file(outside):
    info = special(tarfile.GNUTYPE_SPARSE)
    with pytest.raises(BadArchive):
        unpack(tarred(outside / "in/a.tar", [(info, b"")], "w"), outside / "out/a")


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz", "a.tar"])
def test_broken_anywhere(name, outside):
    """Cut off, or with wrong bytes: the whole archive or nothing, and one kind of error."""
    whole = pack_good(outside / "in" / name).read_bytes()
    draw, failed = random.Random(0), 0
    for n in range(300):
        data = bytearray(whole[: draw.randrange(len(whole))] if n % 3 == 0 else whole)
        for _ in range(n % 5 + 1 if n % 3 else 0):
            data[draw.randrange(len(data))] = draw.randrange(256)
        (outside / "in" / name).write_bytes(data)
        try:
            unpack(outside / "in" / name, outside / "out/a")
        except BadArchive:
            failed += 1
            assert os.listdir(outside / "out") == []
        else:
            shutil.rmtree(outside / "out/a")
    assert failed > 50


# Named: a gzip holds the time at which it was made, and a test's name may not depend on it.
@pytest.mark.parametrize(
    "data",
    [b"", b"hello", bytes(1024), gzip.compress(b"hello")],
    ids=["empty", "text", "zeros", "gzip"],
)
def test_no_archive_at_all(data, outside):
    path = outside / "in/a.zip"
    path.write_bytes(data)
    try:
        unpack(path, outside / "out/a")
    except BadArchive:
        assert os.listdir(outside / "out") == []
    else:
        assert unpacked(outside / "out/a") == {}  # a tar may be nothing but its end


def test_an_archive_that_is_a_link_or_a_fifo(outside):
    good = pack_good(outside / "in/good.zip")
    (outside / "in/a.zip").symlink_to(good)
    os.mkfifo(outside / "in/b.zip")
    for name in ("a.zip", "b.zip"):
        with pytest.raises(Refused):
            unpack(outside / "in" / name, outside / "out/a")
    assert os.listdir(outside / "out") == []


def test_a_target_that_is_there(outside):
    (outside / "out/a").mkdir()
    with pytest.raises(BadArchive, match="there already"):
        unpack(pack_good(outside / "in/a.zip"), outside / "out/a")


def test_good_and_bad_ones_together(outside, caplog):
    """The bad are passed over with a line that names them; the good are all there."""
    source, target = outside / "in", outside / "out"
    pack_good(source / "good.zip")
    zipped(source / "evil.zip", [("../evil", b"1")])
    (source / "broken.tar.gz").write_bytes(b"\x1f\x8bnothing")
    (source / "more").mkdir()
    pack_good(source / "more" / "good.tar.gz")
    zipped(source / "nested.zip", [("inner.zip", b"PK"), ("a.ipynb", b"{}")])
    (source / "plain.ipynb").write_text("{}")
    (source / "link.ipynb").symlink_to("/etc/passwd")
    os.mkfifo(source / "fifo.ipynb")
    logger = logging.getLogger("collect")
    with caplog.at_level("INFO", logger="collect"):
        SafeExtractor(log=logger).extract(str(source), str(target))
    good = {f"{place}/{name}": data for place in ("good", "more/good")
            for name, data in GOOD.items()}  # fmt: skip
    assert unpacked(target) == good | {
        "nested/inner.zip": b"PK", "nested/a.ipynb": b"{}", "plain.ipynb": b"{}"}  # fmt: skip
    passed = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert len(passed) == 4
    for name in ("evil.zip", "broken.tar.gz", "link.ipynb", "fifo.ipynb"):
        assert any(f"{name}: " in line for line in passed), name
    warned = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert [line.split("/")[-1] for line in warned] == ["inner.zip"]


def collector(**config):
    pattern = r".*/(?P<student_id>\w+)_(?P<timestamp>[^_]*)_(?P<file_id>\w+)"
    config = Config({"SafeCollector": {"named_regexp": pattern} | config})
    return SafeCollector(config=config)


def test_a_file_that_comes_twice():
    """Without times that tell which is newer, the first counts; nbgrader would stop here."""
    collect = collector().collect
    time = "2024-05-01 10:00"
    assert collect(f"/x/bob_{time}_tiny.ipynb")["timestamp"] == time
    assert collect(f"/x/y/bob_{time}_tiny.ipynb")["timestamp"] == time
    assert collect("/x/y/bob_when_tiny.ipynb") is None
    assert "timestamp" not in collect("/x/eve_when_tiny.ipynb")
    assert collect(f"/x/eve_{time}_tiny.ipynb") is None
    assert collect("/x/bob__other.ipynb")["file_id"] == "other"
    assert collect("/x/nothing.ipynb") is None


@pytest.mark.parametrize("name", ["x_.._tiny.ipynb", "x__tiny.ipynb", "x_bob_...ipynb"])
def test_a_file_whose_name_tells_no_plain_student_or_file(name):
    pattern = r".*/x_(?P<student_id>[^_]*)_(?P<file_id>[^_]*).ipynb"
    assert collector(named_regexp=pattern).collect(f"/in/{name}") is None
    assert collector(named_regexp=pattern).collect("/in/x_bob_tiny.ipynb")


def test_a_group_that_is_optional_and_not_there():
    pattern = r".*/(?P<student_id>bob)?(?P<file_id>.*)"
    assert collector(named_regexp=pattern).collect("/in/eve.ipynb") is None


def test_zip_collect_takes_both(course, tmp_path):
    """nbgrader's own command, with the lines for nbgrader_config.py."""
    shutil.copytree(course, tmp_path / "course")
    archive = tmp_path / "course/downloaded/tiny/archive"
    archive.mkdir(parents=True)
    zipped(archive / "class.zip", [("bob_tiny.ipynb", b"{}"), ("again/bob_tiny.ipynb", b"[]")])
    zipped(archive / "evil.zip", [("../../../../submitted/eve/tiny/tiny.ipynb", b"{}")])
    plugin = "tutor_lib.grading.intake.collect"
    with open(tmp_path / "course/nbgrader_config.py", "a") as config:
        config.write(
            f'\nc.ZipCollectApp.extractor_plugin = "{plugin}.SafeExtractor"\n'
            f'c.ZipCollectApp.collector_plugin = "{plugin}.SafeCollector"\n'
            'c.SafeCollector.named_regexp = r".*/(?P<student_id>[a-z]+)_(?P<file_id>.*)"\n'
        )
    done = subprocess.run(
        [sys.executable, "-m", "nbgrader", "zip_collect", "tiny"], cwd=tmp_path / "course",
        capture_output=True, text=True, env=os.environ | {"JUPYTER_NO_CONFIG": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert unpacked(tmp_path / "course/submitted") == {"bob/tiny/tiny.ipynb": b"[]"}
    assert "evil.zip: the name" in done.stderr
    assert "bob has another tiny.ipynb" in done.stderr
