from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.object_store import Bucket, failing_server, web_server
from tests.refusals import refusal
from transfer.system import files, remote
from transfer.system.remote import RemotePath, expand, list_files, path_of, walk

AWKWARD = ["a b.txt", "c#d.txt", "e%20f.txt", "g?h.txt", "ü/é ö.txt", "it's (1) & [2]+.txt", "*.txt"]


@pytest.fixture
def memory(request: pytest.FixtureRequest) -> RemotePath:
    """A folder in memory with three files."""
    root = path_of(f"memory://{request.node.name.partition('[')[0]}")
    assert isinstance(root, RemotePath)
    for name in ("b/2.txt", "a.txt", "b.txt"):
        (root / name).write(name.encode())
    return root


def test_paths_are_joined_and_shown_as_urls() -> None:
    path = path_of("s3://bucket/photos/a b#%20?.jpg")
    assert str(path) == "s3://bucket/photos/a b#%20?.jpg"
    assert path == path_of("s3://bucket/photos") / "a b#%20?.jpg"
    assert (path.name, path.suffix, str(path.parent)) == ("a b#%20?.jpg", ".jpg", "s3://bucket/photos")
    assert path.relative_to(path_of("s3://bucket")).as_posix() == "photos/a b#%20?.jpg"
    assert isinstance(path.parent / "x", RemotePath)
    assert pickle.loads(pickle.dumps(path)) == path
    assert path.resolve() is path.absolute() is path


def test_paths_are_made_of_others_as_those_of_this_machine_are() -> None:
    path, folder = path_of("s3://bucket/a/x.tar.gz"), path_of("s3://bucket/a")
    made = [path.with_name("y.jpg"), path.with_suffix(".jpg"), path.with_stem("y"), folder.joinpath("b", "c")]
    made += [folder / "b" / "..", folder / "b//c/.", *path.parents[:2]]
    ends = ["a/y.jpg", "a/x.tar.jpg", "a/y.gz", "a/b/c", "a/b/..", "a/b/c", "a", ""]
    assert list(map(str, made)) == [f"s3://bucket/{end}".rstrip("/") for end in ends]
    assert {type(one) for one in made} == {RemotePath}
    assert [pickle.loads(pickle.dumps(one)) for one in made] == made
    assert [path_of(str(one)) for one in made] == made
    assert {path: 1}[folder / "x.tar.gz"] == 1
    assert path.is_relative_to(folder)
    assert not path.is_relative_to(path_of("s3://other"))
    assert (folder / "x.tar.gz", path.suffixes, path.stem) == (path, [".tar", ".gz"], "x.tar")
    assert sorted([path, folder]) == [folder, path]
    assert str(folder / "/etc/passwd") == "/etc/passwd"
    assert not (folder / "/etc/passwd").exists()
    assert f"{path}" == path.as_posix() == path.__fspath__() == str(path)


@pytest.mark.parametrize("given", ["photos", "/data/x", "hf:name", "a:/b", "a::b", "~"])
def test_what_is_no_url_is_a_path_of_this_machine(given: str) -> None:
    assert path_of(given) == Path(given)
    assert not isinstance(path_of(given), RemotePath)


def test_a_file_url_is_a_path_of_this_machine() -> None:
    assert path_of("file:///data/a%20b") == Path("/data/a%20b")
    assert not isinstance(path_of("file:///data"), RemotePath)


@pytest.mark.parametrize(
    "given",
    [
        "simplecache::s3://bucket/x", "filecache::file:///etc", "zip://a.jpg::s3://bucket/x.zip", "ftp://host/x",
        "sftp://host/x", "local:///etc/passwd", "github://org:repo@main/x", "file://host/x", "S3://bucket/x",
        "ssh+x://host", "reference://x", "dir::file:///etc", "python::memory://x",
    ],
)  # fmt: skip
def test_other_protocols_and_chains_are_refused(given: str) -> None:
    assert "give a path, or a URL that begins with s3://, gs://" in refusal(path_of, given)


@pytest.mark.parametrize("given", ["s3://someone:secret@bucket/x", "gs://secret@bucket/x"])
def test_credentials_in_the_url_of_a_bucket_are_refused_and_not_shown(given: str) -> None:
    message = refusal(path_of, given)
    assert "name credentials in the environment" in message
    assert "secret" not in message


@pytest.mark.parametrize("given", ["s3://", "memory:///", "https://?token=secret"])
def test_a_url_names_a_bucket_or_a_host(given: str) -> None:
    message = refusal(path_of, given)
    assert "names no bucket or host" in message
    assert "secret" not in message


def test_a_url_is_taken_only_where_one_can_be_read() -> None:
    assert expand("s3://bucket/x", urls=True) == path_of("s3://bucket/x")
    assert "s3://bucket/x is a URL; give a file or folder of this machine" in refusal(expand, "s3://bucket/x")


def test_passwords_and_queries_are_used_and_never_shown(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("file,label\n")
    with web_server(tmp_path) as url:
        secret = url.replace("http://", "http://someone:secret@") + "/x.csv?token=secret#part"
        path = path_of(secret)
        assert str(path) == f"{url}/x.csv"
        assert path.suffix == ".csv"
        assert files.read(path, 100) == b"file,label\n"
        again = pickle.loads(pickle.dumps(path))
        assert (str(again), remote._address(again)) == (str(path), secret)
        assert "secret" not in repr(path)
    message = refusal(path.read)
    assert message.startswith(f"can't reach {url}/x.csv: ")
    assert "secret" not in message


def test_pieces_are_right_where_a_server_sends_all_there_is(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(bytes(range(200)))
    with web_server(tmp_path) as url:
        path = path_of(f"{url}/x.bin")
        with files.open_file(path) as file:
            assert files.read_at(file, 150, 100) == bytes(range(150, 200))
            file.seek(-3, io.SEEK_END)
            assert file.read() == bytes([197, 198, 199])
        assert not path_of(f"{url}/y.bin").exists()
        assert not path_of(f"{url}/").is_dir()
        assert "can't be listed; name a file that holds its images" in refusal(list_files, path_of(url))


def test_files_and_folders_are_told_apart(memory: RemotePath) -> None:
    assert (memory.is_dir(), memory.is_file(), memory.exists()) == (True, False, True)
    assert ((memory / "a.txt").is_dir(), (memory / "a.txt").is_file()) == (False, True)
    assert not (memory / "none").exists()
    assert not memory.is_symlink()
    assert memory.samefile(memory)


def test_files_are_listed_in_the_order_of_their_parts(memory: RemotePath) -> None:
    assert [entry.name for entry in list_files(memory)] == ["a.txt", "b/2.txt", "b.txt"]
    found = [(base, sorted(folders), sorted(names)) for base, folders, names in walk(memory)]
    assert found == [(memory, ["b"], ["a.txt", "b.txt"]), (memory / "b", [], ["2.txt"])]


def test_a_file_named_as_its_folder_is_no_marker_of_it(memory: RemotePath) -> None:
    (memory / "b" / "b").write(b"")
    assert list(walk(memory / "b")) == [(memory / "b", [], ["2.txt", "b"])]


def test_folders_of_this_machine_are_walked_as_os_walk_does(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").touch()
    assert list(walk(tmp_path)) == [(tmp_path, ["a"], []), (tmp_path / "a", [], ["x"])]


def test_reading_is_bounded_and_what_is_gone_is_said_so(memory: RemotePath) -> None:
    assert files.read(memory / "a.txt", 5) == b"a.txt"
    with pytest.raises(files.Unfit, match="larger than 4 bytes"):
        files.read(memory / "a.txt", 4)
    (memory / "a.txt").delete()
    (memory / "a.txt").delete()
    with pytest.raises(FileNotFoundError, match="No such file"):
        files.read(memory / "a.txt", 5)
    with pytest.raises(OSError, match="Read-only"):
        (memory / "b.txt").open("wb")


def test_a_stamp_changes_with_the_bytes_once_they_are_listed(memory: RemotePath) -> None:
    before = (memory / "a.txt").stamp()
    (memory / "a.txt").write(b"other")
    list_files(memory)
    assert remote.known_stamp(str(memory / "a.txt")) == (memory / "a.txt").stamp() != before
    assert remote.known_stamp(str(memory / "x.tar" / "member")) is None


@pytest.mark.parametrize("name", ["/etc/passwd", "../x.txt", "s3://bucket/x"])
def test_a_name_in_a_table_does_not_lead_to_this_machine(memory: RemotePath, name: str) -> None:
    with pytest.raises(FileNotFoundError):
        files.read(memory / name, 10**6)


def test_a_package_that_is_not_installed_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from transfer.system import file_systems

    file_systems._open.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "gcsfs", None)
    assert refusal(path_of("gs://bucket/x").exists) == "gs:// needs gcsfs; install it (pip install gcsfs)"


@pytest.mark.slow
def test_awkward_names_are_keys_as_they_are(bucket: Bucket) -> None:
    bucket.put({f"x/{name}": name.encode() for name in AWKWARD})
    bucket.put({"x//twice.txt": b"", "x/./dot.txt": b""})
    root = path_of(f"{bucket.url}/x")
    assert isinstance(root, RemotePath)
    assert sorted(entry.name for entry in list_files(root)) == sorted(AWKWARD)
    for name in AWKWARD:
        assert (root / name).is_file()
        assert files.read(root / name, 100) == name.encode()


@pytest.mark.slow
@pytest.mark.parametrize(("status", "reason"), [(403, "Forbidden"), (500, "Internal Server Error")])
def test_a_server_that_refuses_is_one_line_within_seconds(
    at_endpoint: Callable[[str], None], status: int, reason: str
) -> None:
    with failing_server(status) as url:
        at_endpoint(url)
        for call in (path_of("s3://bucket/x").exists, path_of("s3://bucket/x").read):
            message = refusal(call)
            assert message.startswith("can't reach s3://bucket/x: ")
            assert message.endswith("; what was computed is kept, run again")
    with failing_server(status) as url:
        message = refusal(path_of(f"{url}/x.tar").exists)
        assert message.startswith(f"can't reach {url}/x.tar: {reason}")


@pytest.mark.slow
def test_no_server_is_one_line_within_seconds(at_endpoint: Callable[[str], None]) -> None:
    with failing_server(200) as url:
        pass
    at_endpoint(url)
    assert "can't reach s3://bucket/x: Could not connect" in refusal(path_of("s3://bucket/x").exists)
    assert f"can't reach {url}/x: Connect call failed" in refusal(path_of(f"{url}/x").exists)
