#!/usr/bin/env python3
"""tools/fetch_dataset.sh against a Dataverse played by this program, on this machine only.

    tests/fetch_dataset_test.py SCRIPT [WORD]

Runs the cases whose name contains WORD (default: all), several at a time.
"""
import concurrent.futures
import hashlib
import io
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import zipfile

sys.dont_write_bytecode = True
from support.dataverse import COUNTS, DOI, EXPECT, Dataverse, damaged, pictures, zip_of  # noqa: E402


class Case:
    """A server, a folder, and the script run on them."""

    def __init__(self, script, folder):
        self.script, self.folder, self.site = script, folder, Dataverse()
        self.dir = folder / "data"
        self.state = self.dir / ".fetch"
        (folder / "bin").mkdir()

    def start(self, *options, expect=EXPECT, env=None, server=None, before=(),
              stderr=subprocess.PIPE):
        command = [*before, "bash", str(self.script), "--server", server or self.site.url]
        if expect:
            command += ["--expect", expect]
        variables = {"PATH": f"{self.folder}/bin:{os.environ['PATH']}", "HOME": str(self.folder),
                     "FULMAR_FETCH_WAIT": "0", **(env or {})}
        return subprocess.Popen([*command, *options, str(self.dir)], env=variables, text=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=stderr, start_new_session=True)

    def end(self, process):
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err

    def run(self, *options, **more):
        return self.end(self.start(*options, **more))

    def succeeds(self, *options, **more):
        code, out, err = self.run(*options, **more)
        assert code == 0, f"exit code {code}: {err}"
        assert out == f"{self.dir}\n", out
        self.whole()
        return err

    def fails(self, *words, code=3, options=(), **more):
        found, out, err = self.run(*options, **more)
        assert found == code, f"exit code {found}, not {code}: {err}"
        assert out == "", out
        for word in words:
            assert word in err, f"not said: {word!r} in: {err}"
        return err

    def whole(self):
        """All files are there with their bytes, and nothing else."""
        for part in COUNTS:
            with zipfile.ZipFile(io.BytesIO(self.site.data[part + ".zip"])) as archive:
                want = {pathlib.Path(*pathlib.Path(name).parts[-2:]): archive.read(name)
                        for name in archive.namelist() if "__MACOSX" not in name}
            have = {path.relative_to(self.dir / part): path.read_bytes()
                    for path in (self.dir / part).rglob("*") if path.is_file()}
            assert have == want, f"{part}: {sorted(have)} are not {sorted(want)}"
        left = sorted(path.name for path in self.state.iterdir())
        assert set(left) <= {"dataset.json", "lock", "test.json", "train.json"}, left

    def nothing(self, *parts):
        """Neither a part of the set nor a part of its archive is there."""
        for part in parts or COUNTS:
            assert not (self.dir / part).exists(), f"{part} is there"
            assert not (self.state / (part + ".zip.part")).exists(), f"{part}.zip.part is there"

    def df(self, free):
        """A disk with so many free bytes."""
        stub = self.folder / "bin" / "df"
        stub.write_text(f"#!/bin/sh\necho Avail; echo {free}\n")
        stub.chmod(0o755)

    def close(self):
        self.site.closing.set()
        self.site.shutdown()
        self.site.server_close()
        end = time.monotonic() + 10
        while left := [p.parent.name for p in pathlib.Path("/proc").glob("[0-9]*/cmdline")
                       if str(self.folder).encode() in read(p)]:
            assert time.monotonic() < end, f"processes are left: {left}"
            time.sleep(0.02)


def read(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""


def fetches_then_does_nothing(c):
    err = c.succeeds()
    assert "licence as the server states it: CC0 1.0" in err, err
    stamp = json.loads((c.state / "train.json").read_text())
    assert stamp["checksum"] == "MD5 " + hashlib.md5(c.site.data["train.zip"]).hexdigest(), stamp
    assert sorted(c.site.log) == [("metadata", 0), ("test.zip", 0), ("train.zip", 0)], c.site.log
    assert "there already" in c.succeeds()
    assert len(c.site.log) == 3, "asked again"


def published_counts(c):
    for part, counts in (("train", {"pos": 254, "neg": 1293}), ("test", {"pos": 64, "neg": 371})):
        c.site.put(part + ".zip", zip_of(pictures(part, counts=counts, size=9)))
    c.succeeds(expect=None)


def dropped_connection(c):
    c.site.plan["train.zip"] = [("cut", 100000), ("cut", 70000)]
    c.succeeds()
    assert c.site.requests("train.zip") == [0, 100000, 170000], c.site.log


def ctrl_c_and_again(c):
    c.site.plan["train.zip"] = [("slow", 120000)]
    process = c.start()
    assert c.site.waiting.wait(60)
    part = c.state / "train.zip.part"
    while not part.exists() or part.stat().st_size < 60000:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    code, out, err = c.end(process)
    assert code == 130 and out == "" and "the same command goes on" in err, (code, err)
    kept = part.stat().st_size
    assert kept >= 60000
    c.succeeds()
    assert c.site.requests("train.zip") == [0, kept], c.site.log


def sigterm_to_the_script_alone(c):
    c.site.plan["train.zip"] = [("slow", 5)]
    process = c.start()
    assert c.site.waiting.wait(60)
    begun = time.monotonic()
    process.terminate()
    code, _, err = c.end(process)
    assert code == 130, (code, err)
    assert time.monotonic() - begun < 30, "not at once"  # close() sees that curl has ended


def server_without_ranges(c):
    c.site.plan["train.zip"] = [("cut", 100000), ("whole",), ("whole",)]
    assert "can't go on" in c.succeeds()


def partial_of_another_version(c):
    c.site.plan["train.zip"] = [("cut", 100000)] + [("status", 503, b"", "text/plain")] * 9
    c.fails("given up")
    assert (c.state / "train.zip.part").stat().st_size == 100000
    c.site.put("train.zip", zip_of(pictures("train", size=50000)))
    c.site.plan, c.site.log = {}, []
    assert "of another file or version" in c.succeeds()
    assert c.site.requests("train.zip") == [0], c.site.log


def wrong_md5_once(c):
    c.site.plan["train.zip"] = [("serve", damaged(c.site.data["train.zip"]))]
    assert "again from the start" in c.succeeds()
    assert c.site.requests("train.zip") == [0, 0], c.site.log


def wrong_md5_always(c):
    bad = damaged(c.site.data["train.zip"])
    c.site.plan["train.zip"] = [("serve", bad)] * 9
    good = hashlib.md5(c.site.data["train.zip"]).hexdigest()
    c.fails("train.zip: wrong again", good, hashlib.md5(bad).hexdigest())
    assert len(c.site.requests("train.zip")) == 2, c.site.log
    c.nothing()


def other_checksums(c):
    for name, data in c.site.data.items():
        c.site.put(name, data, md5=None, checksum={
            "type": "SHA-256", "value": hashlib.sha256(data).hexdigest().upper()})
    assert "checking its SHA256" in c.succeeds()
    c.site.files[1]["dataFile"]["checksum"]["value"] = "0" * 64
    subprocess.run(["rm", "-r", c.dir / "test"], check=True)
    c.fails("test.zip: wrong again")


def older_metadata_with_md5_alone(c):
    c.site.change(checksum=None)
    assert "checking its MD5" in c.succeeds()


def no_checksum(c):
    c.site.change(checksum=None, md5=None)
    assert "no checksum" in c.succeeds()


def no_checksum_and_an_archive_cut_short(c):
    c.site.put("train.zip", c.site.data["train.zip"][:-500], md5=None, checksum=None)
    c.fails("train.zip: wrong again: the archive is damaged")
    assert len(c.site.requests("train.zip")) == 2, c.site.log
    c.nothing()


def no_checksum_and_wrong_bytes(c):
    c.site.put("train.zip", damaged(c.site.data["train.zip"]), md5=None, checksum=None)
    c.fails("train.zip: wrong again: the archive is damaged")
    c.nothing()


def no_persistent_ids(c):
    c.site.change(persistentId="")
    assert "/api/access/datafile/7" in c.succeeds()


def persistent_id_before_name(c):
    other = c.site.describe(99, "train.zip", persistentId=DOI + "/OTHER0")
    c.site.files[0]["label"] = c.site.files[0]["dataFile"]["filename"] = "renamed.zip"
    c.site.data["renamed.zip"] = c.site.data["train.zip"]
    c.site.files.insert(0, other)
    c.succeeds()
    assert c.site.requests("renamed.zip") == [0], c.site.log


def file_not_in_the_dataset(c):
    c.site.files[0]["dataFile"].update(persistentId=DOI + "/OTHER0", filename="a.zip")
    c.site.files[0]["label"] = "a.zip"
    c.fails("train.zip", "has no such file", "a.zip, test.zip")
    c.site.files[0]["label"] = "train.zip"
    c.site.files.append(c.site.files[0])
    c.fails("has 2 files of this name")


def restricted_file(c):
    c.site.files[1]["restricted"] = True
    c.fails("test.zip: restricted")
    c.nothing()


HTML = ("status", 200, b"<!DOCTYPE html>\n<html><body>Guestbook</body></html>", "text/html")


def page_in_place_of_the_file(c):
    c.site.plan["train.zip"] = [HTML] * 9
    c.fails("train.zip: not served", "a web page", f"put train.zip into {c.dir}")
    c.nothing()


def page_while_going_on(c):
    c.site.plan["train.zip"] = [("cut", 100000)] + [HTML] * 2
    c.fails("a web page")
    assert (c.state / "train.zip.part").stat().st_size == 100000
    c.succeeds()
    assert c.site.requests("train.zip")[-1] == 100000, c.site.log


def guestbook(c):
    body = b'{"status":"ERROR","code":400,"message":"You may not download without a Guestbook"}'
    for code in (400, 200):
        c.site.plan["train.zip"] = [("status", code, body, "application/json")] * 2
        c.fails("the server says: You may not download without a Guestbook")
    c.nothing()


def refused_and_gone(c):
    for code, words in ((403, "not open to all (HTTP 403)"), (404, "is not there (HTTP 404)")):
        c.site.log = []
        c.site.plan["train.zip"] = [("status", code, b"<html>", "text/html")] * 2
        c.fails(words)
        assert len(c.site.requests("train.zip")) == 2, "tried again"  # the second asks for the reason


def bad_metadata(c):
    error = b'{"status":"ERROR","message":"Dataset not found"}'
    for answer, words in (
            (HTML, "the answer is a web page"),
            (("status", 200, b"{}", "application/json"), "neither the file nor a message"),
            (("status", 200, b'{"status":"OK","data":[]}', "application/json"), "not understood"),
            (("status", 200, error, "application/json"), "the server says: Dataset not found"),
            (("status", 404, error, "application/json"), "the server says: Dataset not found")):
        c.site.plan["metadata"] = [answer] * 2
        assert "put metadata" not in c.fails("metadata", words)
    for change, words in (({"filesize": "many"}, "no size"), ({"persistentId": "a&b=c"}, "'a&b=c'"),
                          ({"persistentId": "", "id": "../x"}, "no id")):
        saved = json.loads(json.dumps(c.site.files))
        c.site.change(**change)
        c.fails("train.zip", words)
        c.site.files = saved


def busy_server(c):
    busy = ("status", 503, b"", "text/plain")
    c.site.plan = {"metadata": [busy], "train.zip": [busy, ("status", 429, b"", "text/plain")]}
    assert "next try" in c.succeeds()
    assert len(c.site.requests("train.zip")) == 3, c.site.log


def server_that_never_answers(c):
    c.site.plan["train.zip"] = [("cut", 100000)] + [("status", 500, b"", "text/plain")] * 99
    c.fails("given up after 6 tries", "kept")
    assert len(c.site.requests("train.zip")) == 7, c.site.log
    assert (c.state / "train.zip.part").stat().st_size == 100000


def no_server(c):
    c.fails("given up after 6 tries", server="http://127.0.0.1:1")


def stalled_connection_seen_on_a_terminal(c):
    try:
        ours, terminal = os.openpty()
    except OSError as error:
        print(f"skipped: no terminals can be made here ({error})")
        return
    c.site.plan["train.zip"] = [("slow", 100000)]
    begun = time.monotonic()
    process = c.start(env={"FULMAR_FETCH_STALL": "1"}, stderr=terminal)
    os.close(terminal)
    code, _, _ = c.end(process)
    assert time.monotonic() - begun < 30, "waited for the server"
    shown = os.read(ours, 10000).decode()
    os.close(ours)
    assert code == 0 and "\r\x1b[Kfetch: train.zip: 3" in shown and " % of 300.7KB" in shown, shown
    c.whole()
    assert c.site.requests("train.zip") == [0, 100000], c.site.log


def redirects_without_end(c):
    again = ("status", 303, b"", "text/plain", [("Location", "/s3/7?signature=x%2Fy")])
    c.site.plan["train.zip"] = [again] * 30
    c.fails("redirects", "--server")
    assert len(c.site.log) < 15, "tried again"


def size_other_than_stated(c):
    data = c.site.data["train.zip"]
    for stated in (len(data) - 10, len(data) + 10):
        c.site.put("train.zip", data, filesize=stated)
        c.fails("train.zip", f"not the {stated} bytes", "nothing is kept")
        c.nothing()


def more_bytes_than_stated(c):
    c.site.put("train.zip", c.site.data["train.zip"], filesize=1000)
    c.site.plan["train.zip"] = [("slow", 100000)] * 2
    begun = time.monotonic()
    c.fails("not the 1000 bytes")
    assert time.monotonic() - begun < 30, "waited for the server"
    c.nothing()


def changed_counts(c):
    c.site.put("train.zip", zip_of(pictures("train", counts={"pos": 2, "neg": 4})))
    changed = "train/neg=4,train/pos=2,test/neg=2,test/pos=1"
    c.fails("not train/neg=3,train/pos=2", "the published dataset has changed (version 1.0)",
            f"--expect '{changed}'")
    assert not (c.dir / "train").exists()
    c.succeeds(expect=changed)
    assert c.site.requests("train.zip") == [0], "downloaded again"


def another_class(c):
    c.site.put("test.zip", zip_of(pictures("test") + [("test/maybe/a.png", b"1")]))
    c.fails("test.zip: holds test/maybe=1,test/neg=2,test/pos=1, not test/neg=2,test/pos=1")
    assert not (c.dir / "test").exists()


def entries_that_leave_the_folder(c):
    link = zipfile.ZipInfo("train/pos/link.png")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    for entry, words in (("train/../../../out.png", "would leave the folder"),
                         (str(c.folder / "out.png"), "would leave the folder"),
                         ("..\\out.png", "would leave the folder"),
                         ("C:/out.png", "would leave the folder"), (link, "is a link")):
        c.site.put("train.zip", zip_of(pictures("train", size=9) + [(entry, b"/etc/passwd")]))
        c.fails("refused", words)
        assert not (c.dir / "train").exists() and not list(c.folder.rglob("*out.png"))


def archives_packed_otherwise(c):
    junk = [("__MACOSX/train/pos/._a.png", b"1")]
    c.site.put("train.zip", zip_of(pictures("train", prefix="") + junk))
    c.succeeds()


def remains_of_an_end_by_force(c):
    (c.state / "unpacked/train/pos").mkdir(parents=True)
    (c.state / "unpacked/train/pos/old.png").write_bytes(b"1")
    c.succeeds()


def too_little_space(c):
    size = sum(len(data) for data in c.site.data.values())
    c.df(size)
    c.fails("the dataset needs", "are free")
    assert not c.site.requests("train.zip"), "downloaded"
    c.nothing()


def too_little_space_to_unpack(c):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, _ in pictures("train"):
            archive.writestr(name, bytes(10**6))
    c.site.put("train.zip", packed.getvalue())
    c.df(10**6)
    c.fails("unpacking train.zip needs 5.0MB")
    limit = ["bash", "-c", 'trap "" XFSZ; ulimit -f 900; exec "$@"', "-"]
    c.df(10**9)
    c.fails("is the disk full?", "Make room", before=limit)
    assert not (c.dir / "train").exists() and not (c.state / "unpacked").exists()
    c.succeeds()
    assert c.site.requests("train.zip") == [0], "downloaded again"


def disk_full_while_downloading(c):
    limit = ["bash", "-c", 'trap "" XFSZ; ulimit -f 100; exec "$@"', "-"]
    c.fails("can't be written", "Make room", before=limit)
    assert (c.state / "train.zip.part").stat().st_size == 102400
    c.succeeds()
    assert c.site.requests("train.zip") == [0, 102400], c.site.log


def folder_with_other_things(c):
    (c.dir / "notes").mkdir(parents=True)
    (c.dir / "notes/a.txt").write_text("mine")
    c.succeeds()
    assert (c.dir / "notes/a.txt").read_text() == "mine"


def another_train_folder(c):
    mine = c.dir / "train/pos/mine.png"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"1")
    c.fails(f"{c.dir}/train: holds something else (train/pos=1, not train/neg=3,train/pos=2)")
    assert mine.exists() and not c.site.log
    subprocess.run(["rm", "-r", c.dir / "train"], check=True)
    (c.dir / "train").write_bytes(b"1")
    c.fails(f"{c.dir}/train: is not a folder")


def files_unpacked_by_hand(c):
    for name, data in pictures("train"):
        (c.dir / name).parent.mkdir(parents=True, exist_ok=True)
        (c.dir / name).write_bytes(data)
    assert "not from this script" in c.succeeds()
    assert not c.site.requests("train.zip")


def files_lost_later(c):
    c.succeeds()
    next((c.dir / "train/pos").iterdir()).unlink()
    c.fails(f"{c.dir}/train: no longer the files that were fetched (train/neg=3,train/pos=1 now)")
    assert len(list((c.dir / "train").rglob("*.png"))) == 4 and len(c.site.log) == 3


def archive_from_a_browser(c):
    c.dir.mkdir()
    (c.dir / "train.zip").write_bytes(c.site.data["train.zip"])
    (c.dir / "test.zip").write_bytes(b"not an archive")
    assert "test.zip: not the published file: it has 14 bytes" in c.succeeds()
    assert c.site.requests("train.zip") == [] and c.site.requests("test.zip") == [0], c.site.log
    assert (c.dir / "train.zip").exists() and (c.dir / "test.zip").read_bytes() == b"not an archive"


def wrong_arguments(c):
    for options, words in (
            (("--fast",), "no such option: --fast"), (("--expect", "train/pos"), "'train/pos'"),
            (("--expect", "train/pos=1"), "'train/pos=1'"), (("b",), "one folder, not two"),
            (("--server", "ftp://a"), "'ftp://a'"), (("",), "the folder's name is empty")):
        c.fails(words, "usage: tools/fetch_dataset.sh", code=2, options=options)
    c.fails("FULMAR_FETCH_WAIT", code=2, env={"FULMAR_FETCH_WAIT": "soon"})
    assert not c.dir.exists()


def proxy_of_the_environment(c):
    c.succeeds(server="http://dataverse.example", env={"http_proxy": c.site.url})
    assert len(c.site.log) == 3


def two_at_once(c):
    c.site.plan["train.zip"] = [("slow", 5)]
    process = c.start()
    assert c.site.waiting.wait(60)
    c.fails("another fetch is working there")
    process.terminate()
    c.end(process)


def missing_tool(c):
    for tool in ("bash", "curl", "dirname", "realpath", "sed"):
        os.symlink(subprocess.check_output(["which", tool], text=True).strip(),
                   c.folder / "bin" / tool)
    c.fails("jq is not installed", env={"PATH": str(c.folder / "bin")})


def folder_that_cannot_be(c):
    c.dir.write_bytes(b"a file")
    c.fails(f"{c.dir}: can't make this folder")


CASES = [value for name, value in list(globals().items()) if getattr(value, "__code__", None)
         and value.__code__.co_varnames[:value.__code__.co_argcount] == ("c",)]


def outcome(case, script):
    begun = time.monotonic()
    problem = ""
    try:
        with tempfile.TemporaryDirectory(prefix="fulmar-fetch-") as folder:
            c = Case(script, pathlib.Path(folder).resolve())
            try:
                case(c)
            finally:
                c.close()
    except Exception:  # noqa: BLE001 (any is this case's failure)
        problem = traceback.format_exc()
    return case.__name__.replace("_", " "), time.monotonic() - begun, problem


def main():
    script = pathlib.Path(sys.argv[1]).resolve()
    word = sys.argv[2] if len(sys.argv) > 2 else ""
    # What runs in the background may be told to ignore Ctrl-C, and would pass that on.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    cases = [case for case in CASES if word in case.__name__.replace("_", " ")]
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for name, seconds, problem in pool.map(lambda case: outcome(case, script), cases):
            print(f"{'FAILED' if problem else 'ok':6} {seconds:5.2f} s  {name}")
            if problem:
                failed += 1
                print(problem)
    print(f"{len(cases) - failed} of {len(cases)} cases passed")
    sys.exit(1 if failed or not cases else 0)


if __name__ == "__main__":
    main()
