"""A Dataverse on this machine, for tests: serves a dataset of small archives, well or badly."""
import hashlib
import http.server
import io
import json
import random
import threading
import zipfile

DOI = "doi:10.18710/FV5T9U"
IDS = {"train.zip": DOI + "/QHV7PJ", "test.zip": DOI + "/Z7JPFT"}
COUNTS = {"train": {"pos": 2, "neg": 3}, "test": {"pos": 1, "neg": 2}}
EXPECT = "train/pos=2,train/neg=3,test/pos=1,test/neg=2"


def zip_of(entries):
    """entries: (name or ZipInfo, bytes) pairs."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return out.getvalue()


def pictures(part, prefix=None, counts=None, size=60000):
    """Entries of an archive as published; random bytes serve as PNG files."""
    prefix = part + "/" if prefix is None else prefix
    draw = random.Random(part)
    return [(f"{prefix}{kind}/{kind}{i:04}_mos_rgb.png", draw.randbytes(size))
            for kind, count in (counts or COUNTS[part]).items() for i in range(count)]


def damaged(data):
    return data[:1000] + bytes([data[1000] ^ 1]) + data[1001:]


class Dataverse(http.server.ThreadingHTTPServer):
    """Serves metadata and files; a file request leads to another address, as with S3.

    `plan` holds what happens to the next requests by file name ("metadata" too): ("cut", n) closes
    after n bytes, ("status", code, body, type), ("whole",) ignores Range, ("slow", n) sends n bytes,
    then waits, ("serve", bytes) sends other bytes. When it is used up, all is well.
    """
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.data = {part + ".zip": zip_of(pictures(part)) for part in COUNTS}
        self.plan = {}
        self.log = []  # (name, first byte asked for) of files and metadata
        self.closing = threading.Event()
        self.waiting = threading.Event()  # a slow answer has sent its part
        self.files = [self.describe(number, name) for number, name in enumerate(self.data, 7)]
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def describe(self, number, name, **changes):
        data = self.data[name]
        md5 = hashlib.md5(data).hexdigest()
        file = {"id": number, "persistentId": IDS[name], "filename": name, "filesize": len(data),
                "md5": md5, "checksum": {"type": "MD5", "value": md5}}
        file.update(changes)
        return {"label": name, "restricted": False, "dataFile": file}

    def put(self, name, data, **changes):
        """Publishes other bytes under this name."""
        self.data[name] = data
        self.files = [self.describe(f["dataFile"]["id"], name, **changes)
                      if f["label"] == name else f for f in self.files]

    def change(self, **changes):
        for file in self.files:
            file["dataFile"].update(changes)

    def metadata(self):
        return {"status": "OK", "data": {"latestVersion": {
            "versionNumber": 1, "versionMinorNumber": 0, "license": {"name": "CC0 1.0"},
            "files": self.files}}}

    def requests(self, name):
        return [start for asked, start in self.log if asked == name]

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request, client_address):
        pass  # clients that went away


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def send(self, code, body, kind, headers=()):
        self.send_response(code)
        for key, value in (("Content-Type", kind), ("Content-Length", len(body)), *headers):
            self.send_header(key, str(value))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):  # noqa: N802 (the library's name)
        server = self.server
        path = self.path.replace("http://dataverse.example", "")  # asked as a proxy
        if path == f"/api/datasets/:persistentId/?persistentId={DOI}":
            name, body = "metadata", json.dumps(server.metadata()).encode()
        else:
            found = [f for f in server.files for file in [f["dataFile"]] if path in (
                f"/api/access/datafile/:persistentId?persistentId={file['persistentId']}",
                f"/api/access/datafile/{file['id']}", f"/s3/{file['id']}?signature=x%2Fy")]
            if not found:
                return self.send(404, b'{"status":"ERROR","message":"no such"}', "application/json")
            name = found[0]["label"]
            if not path.startswith("/s3/"):
                where = f"/s3/{found[0]['dataFile']['id']}?signature=x%2Fy"
                return self.send(303, b"", "text/plain", [("Location", where)])
            body = server.data[name]
        start = int(self.headers.get("Range", "bytes=0-").split("=")[1].split("-")[0])
        server.log.append((name, start))
        plan = server.plan.get(name) or [("good",)]
        action, *values = plan.pop(0)
        if action == "status":
            return self.send(*values)
        if action == "serve":
            body = values[0]
        if action == "whole":
            start = 0
        if start >= len(body):
            return self.send(416, b"", "text/plain")
        self.send_response(206 if start else 200)
        self.send_header("Content-Type",
                         "application/json" if name == "metadata" else "application/zip")
        self.send_header("Content-Length", str(len(body) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.end_headers()
        if action in ("cut", "slow"):
            body = body[:start + values[0]]
        self.wfile.write(body[start:])
        if action == "slow":
            server.waiting.set()
            server.closing.wait(60)
