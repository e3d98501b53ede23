// Bad run folders through the program: damaged, not to be written, on a disk that fills up.
#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "engine/io/file.h"
#include "engine/io/safetensors.h"
#include "tests/support/bitmap.h"
#include "tests/support/built.h"
#include "tests/support/refusal.h"
#include "tests/support/temp_folder.h"

using namespace fulmar;
using namespace fulmar::test;

namespace fs = std::filesystem;

namespace {

using Words = std::vector<std::string>;

// A dataset, and a training of three epochs on it.
struct Runs {
  TempFolder folder;
  std::string data = path("data"), whole = path("whole");

  Runs() {
    for (uint32_t i = 0; i < 16; i++) {
      const std::string of_class = data + (i % 2 == 0 ? "/neg" : "/pos");
      fs::create_directories(of_class);
      write_bitmap(of_class + "/" + std::to_string(i) + ".bmp", 20, 20, [&](int y, int x) {
        const auto at = static_cast<uint32_t>(y * 20 + x);
        const uint32_t noise = (i * 400 + at) * 2654435761u >> 24;
        return (noise / (i % 2 == 0 && y < 10 ? 4 : 1)) * 0x010101u;
      });
    }
    const Ended e = fulmar_program(train(whole));
    REQUIRE(e.code == 0);
    check_clean(e);
  }
  std::string path(const std::string& name) const { return folder.path(name); }
  Words train(const std::string& run, const Words& more = {}) const {
    Words words{"train", data,      "--out", run,        "--crop", "16",   "--widths",
                "4,4",   "--batch", "4",     "--epochs", "3",      "--lr", "1e-2"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  std::string copy(const std::string& name) const {
    fs::remove_all(path(name));
    fs::copy(whole, path(name));
    return path(name);
  }
};

std::string read(const std::string& path) { return read_file(path, 1 << 24); }

// Puts `to` in place of the rest of the line from `from` on.
void replace_value(const std::string& path, const std::string& from, const std::string& to) {
  std::string text = read(path);
  const size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  text.replace(at, text.find('\n', at) - at, from + to);
  write_file(path, text);
}

void flip(const std::string& path, size_t from_end) {
  std::string bytes = read(path);
  const size_t at = from_end > 0 ? bytes.size() - from_end : 200;
  bytes[at] = static_cast<char>(bytes[at] ^ 4);
  write_file(path, bytes);
}

bool same_tensors(const std::string& a, const std::string& b) {
  const Safetensors first = Safetensors::read(a), second = Safetensors::read(b);
  if (first.tensors().size() != second.tensors().size()) return false;
  for (const StoredTensor& tensor : first.tensors()) {
    const StoredTensor* other = second.find(tensor.name);
    if (!other || other->bytes() != tensor.bytes() ||
        std::memcmp(other->data, tensor.data, tensor.bytes()) != 0)
      return false;
  }
  return true;
}

bool holds_temporary_files(const std::string& folder) {
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.path().extension() == ".tmp") return true;
  return false;
}

}  // namespace

TEST_CASE("--out onto a run or a file, --resume where there is none") {
  const Runs r;
  const std::string& root = r.folder.path();
  fs::create_directories(r.path("empty"));
  check_refused({r.train(r.whole), 3, {r.whole, "holds a run already", "--resume"}}, root);
  const std::string file = r.whole + "/config.json";
  check_refused({r.train(file), 3, {file, "a file is in its place"}}, root);
  for (const char* name : {"empty", "absent"})
    check_refused({{"train", "--out", r.path(name), "--resume"},
                   3,
                   {r.path(name), "holds no run to resume", "leave out --resume"}},
                  root);
  check_refused({r.train(r.whole, {"--resume", "--dropout", "0.1"}), 2, {"--dropout was 0.5"}},
                root);
  // What is left of a run without its configuration is not written over.
  const std::string rest = r.copy("rest");
  fs::remove(rest + "/config.json");
  check_refused({r.train(rest), 3, {rest, "holds a run already"}}, root);
}

TEST_CASE("--resume of a damaged run names the file and changes nothing") {
  const Runs r;
  struct Row {
    std::string file;
    std::function<void(const std::string& path)> damage;
    std::string said;
  };
  const auto cut = [](size_t bytes) {
    return [bytes](const std::string& path) { write_file(path, read(path).substr(0, bytes)); };
  };
  const auto becomes = [](const std::string& text) {
    return [text](const std::string& path) { write_file(path, text); };
  };
  const auto entry = [](const std::string& name, const std::string& value) {
    return [name, value](const std::string& path) {
      replace_value(path, "\"" + name + "\": ", value + ",");
    };
  };
  const auto removed = [](const std::string& path) { fs::remove(path); };
  const auto folder = [](const std::string& path) {
    fs::remove(path);
    fs::create_directories(path);
  };
  const std::string config = "config.json", last = "last.safetensors", metrics = "metrics.csv";
  const std::string restore = "restore it, or train into another folder";
  const std::vector<Row> rows{
      {config, cut(200), restore},
      {config, cut(0), restore},
      {config, becomes("hello"), restore},
      {config, becomes("[1, 2]"), restore},
      {config, becomes("{}"), "'dataset' is missing; " + restore},
      {config, entry("batch", "\"8\""), "'batch' is of the wrong type; " + restore},
      {config, entry("batch", "1.5"), "'batch' is of the wrong type"},
      {config, entry("pad", "1"), "'pad' is of the wrong type"},
      {config, entry("batch", "-8"), "--batch: -8 is not between"},
      {config, entry("accumulate", "0"), "--accumulate: 0 is not between"},
      {config, entry("crop", "0"), "--crop"},
      {config, entry("channels", "70"), "--channels: 70 is not between"},
      {config, entry("size", "\"8\""), "--crop 16 is larger than --size 8"},
      {config, entry("gain", "1e99"), "--gain: 1e+99 is not between"},
      {config, entry("adamw", "\"sgd\""), "--adamw: 'sgd' is none of"},
      {config, entry("dataset", "\"/absent\""), ""},
      {config, folder, "it is a folder"},
      {last, cut(0), "it is empty"},
      {last, cut(3000), "it is cut short"},
      {last, cut(20000), "it is cut short"},
      {last, [](const std::string& path) { flip(path, 0); }, "header does not fit its checksum"},
      {last, [](const std::string& path) { flip(path, 9); }, "tensors do not fit their checksum"},
      {last, becomes("hello, this is a text"), "not a safetensors file"},
      {last, folder, "it is a folder"},
      {"best.safetensors", removed, "is missing, which the run to resume wrote: put it back"},
      {metrics, removed, "is missing, which the run to resume wrote: put it back"},
      {metrics, cut(0), "header"},
      {metrics, cut(160), "of the 3 epochs of the run to resume: put it back"},
      {metrics, becomes("hello\n"), "holds 0 of the 3 epochs"},
      {metrics, folder, "it is a folder"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.file);
    CAPTURE(row.said);
    const std::string run = r.copy("run");
    row.damage(run + "/" + row.file);
    const std::string named = row.said.empty() ? "/absent: no such folder" : run + "/" + row.file;
    check_refused({{"train", "--out", run, "--resume"}, 3, {named, row.said}}, r.folder.path());
  }
}

TEST_CASE("a training that diverges: exit 5, the layer's name, and what to do") {
  const Runs r;
  for (const char* batch : {"8", "1"}) {
    const std::string run = r.path(std::string("wild-") + batch);
    // The weights become 99 times as large at every step.
    const Ended e = fulmar_program({"train", r.data, "--out", run, "--crop", "16", "--widths",
                                    "4,4", "--batch", batch, "--lr", "100", "--weight-decay", "1"});
    CAPTURE(e.err);
    CHECK(e.code == 5);
    CHECK(has(e.err, "NaN or infinite"));
    CHECK(has(e.err, "(block"));
    CHECK(has(e.err, "use a smaller --lr than 100"));
    check_clean(e);
    // With batches of 1 it diverges in the first epoch, which leaves nothing.
    CHECK(fs::exists(run) == (std::string(batch) == "8"));
    if (fs::exists(run)) {
      CHECK_FALSE(holds_temporary_files(run));
      CHECK(fulmar_program({"info", run + "/best.safetensors"}).code == 0);
    }
  }
}

TEST_CASE("a place that can't be written, as a user without rights: exit 3, nothing is left") {
  const Runs r;
  HowToRun how;
  how.nobody = ::getuid() == 0;
  // The build folder may be closed to that user.
  const std::string program = r.path("fulmar"), closed = r.path("closed");
  fs::copy_file(built::program, program);
  fs::create_directories(closed);
  const std::string run = closed + "/run", old = r.copy("closed/old");
  const std::string secret = r.path("secret.safetensors");
  fs::copy_file(r.whole + "/best.safetensors", secret);
  replace_value(old + "/config.json", "\"epochs\": ", "4,");
  REQUIRE(::chmod(r.folder.path().c_str(), 0755) == 0);
  REQUIRE(::chmod(secret.c_str(), 0) == 0);
  for (const auto& entry : fs::directory_iterator(old))
    REQUIRE(::chmod(entry.path().c_str(), 0444) == 0);
  REQUIRE(::chmod(old.c_str(), 0555) == 0);
  REQUIRE(::chmod(closed.c_str(), 0555) == 0);

  const std::string choose = "choose a folder in which you may write";
  const std::string model = r.whole + "/best.safetensors";
  check_refused({r.train(run), 3, {run, "Permission denied", choose}}, closed, how, program);
  check_refused({r.train(closed), 3, {closed + "/run.lock", "Permission denied", choose}}, closed,
                how, program);
  check_refused({{"train", "--out", old, "--resume"}, 3, {old, "Permission denied", choose}},
                closed, how, program);
  check_refused({{"predict", model, r.data, "--csv", closed + "/t.csv"},
                 3,
                 {closed + "/t.csv", "Permission denied", choose}},
                closed, how, program);
  fs::create_directories(r.path("open"));
  REQUIRE(::chmod(r.path("open").c_str(), 0777) == 0);
  check_refused({r.train(r.path("open/run"), {"--cache", closed}), 3, {closed, choose}},
                r.path("open"), how, program);
  check_refused({{"predict", secret, r.data}, 3, {secret, "ask its owner"}}, closed, how, program);
  REQUIRE(::chmod(closed.c_str(), 0755) == 0);
  REQUIRE(::chmod(old.c_str(), 0755) == 0);
}

TEST_CASE("a disk that fills up at any moment of a training: exit 3, whole files, and --resume") {
  const Runs r;
  const std::string run = r.path("run");
  uint64_t bytes = 2 * fs::file_size(r.whole + "/last.safetensors");  // of two epochs more
  for (const auto& entry : fs::directory_iterator(r.whole)) bytes += entry.file_size();
  HowToRun how;
  how.environment = {"LD_PRELOAD=" + built::no_space, "FULMAR_FULL_DISK=" + run + "/", ""};
  constexpr uint64_t moments = 16;
  int kept = 0;
  for (uint64_t moment = 0; moment < moments; moment++) {
    const uint64_t room = bytes * moment / moments;
    CAPTURE(room);
    fs::remove_all(run);
    how.environment.back() = "FULMAR_FULL_DISK_ROOM=" + std::to_string(room);
    const Ended e = fulmar_program(r.train(run), how);
    CAPTURE(e.err);
    CHECK(e.code == 3);
    for (const std::string& part :
         {run + "/", std::string("No space left on device"), std::string("free some space there")})
      CHECK(has(e.err, part));
    check_clean(e);
    if (!fs::exists(run)) continue;  // there was no model yet
    kept++;
    CHECK_FALSE(holds_temporary_files(run));
    CHECK(fs::exists(run + "/best.safetensors"));
    for (const char* name : {"/best.safetensors", "/last.safetensors"})
      if (fs::exists(run + name)) CHECK(fulmar_program({"info", run + name}).code == 0);
    if (fs::exists(run + "/last.safetensors")) CHECK(has(e.err, "--resume' goes on"));
    const Ended resumed = fulmar_program({"train", "--out", run, "--resume"});
    CAPTURE(resumed.err);
    CHECK(resumed.code == 0);
    for (const char* name : {"/best.safetensors", "/last.safetensors"})
      CHECK(same_tensors(run + name, r.whole + name));
  }
  CHECK(kept > 8);
  CHECK(kept < static_cast<int>(moments));

  // One file at a time, in the middle of a run that is resumed.
  for (const char* name : {"last.safetensors", "metrics.csv", "events.out.tfevents.fulmar"}) {
    CAPTURE(name);
    r.copy("run");
    replace_value(run + "/config.json", "\"epochs\": ", "6,");
    how.environment = {"LD_PRELOAD=" + built::no_space, "FULMAR_FULL_DISK=" + run + "/" + name};
    how.environment[1].pop_back();  // begins so
    const std::string last = read(run + "/last.safetensors");
    const Ended e = fulmar_program({"train", "--out", run, "--resume"}, how);
    CAPTURE(e.err);
    CHECK(e.code == 3);
    CHECK(has(e.err, "No space left on device"));
    CHECK(has(e.err, run + "/" + name));
    CHECK_FALSE(holds_temporary_files(run));
    CHECK(read(run + "/last.safetensors") == last);
    CHECK(fulmar_program({"train", "--out", run, "--resume"}).code == 0);
  }
}

TEST_CASE("a file system without locks and modes: training, tables and pictures are written") {
  const Runs r;
  const int reasons[] = {ENOSYS, ENOLCK, EOPNOTSUPP};
  HowToRun how;
  how.environment = {"LD_PRELOAD=" + built::failing_calls, ""};
  for (const int reason : reasons) {
    CAPTURE(reason);
    how.environment[1] =
        "FULMAR_FAILING_CALLS=flock=" + std::to_string(reason) + ",fchmod=" + std::to_string(EPERM);
    const std::string run = r.path("run-" + std::to_string(reason));
    const Ended e = fulmar_program(r.train(run), how);
    CAPTURE(e.err);
    CHECK(e.code == 0);
    check_clean(e);
    for (const char* name : {"/best.safetensors", "/last.safetensors"})
      CHECK(same_tensors(run + name, r.whole + name));
    CHECK_FALSE(holds_temporary_files(run));
  }
  const std::string table = r.path("table.csv");
  CHECK(fulmar_program({"predict", r.whole + "/best.safetensors", r.data, "--csv", table}, how)
            .code == 0);
  CHECK(fs::file_size(table) > 0);
  CHECK(
      fulmar_program({"synth", r.path("made"), "--train", "2", "--test", "0", "--size", "100"}, how)
          .code == 0);
}

TEST_CASE("a limit of file sizes: exit 3 and what limits, not a signal") {
  const Runs r;
  const std::string run = r.path("run"), copy = r.copy("copy");
  replace_value(copy + "/config.json", "\"epochs\": ", "6,");
  const auto limited = [&](const std::string& arguments) {
    const std::string program = built::program;
    return run_process("/bin/sh", {"-c", "ulimit -f 8; exec '" + program + "' " + arguments});
  };
  for (const std::string& arguments :
       {"train '" + r.data + "' --out '" + run + "' --crop 16 --widths 4,4 --epochs 3",
        "train --out '" + copy + "' --resume",
        "predict '" + r.whole + "/best.safetensors' '" + r.data + "' --csv '" + r.path("t") +
            "'"}) {
    CAPTURE(arguments);
    const Ended e = limited(arguments);
    CAPTURE(e.err);
    check_clean(e);
    if (has(arguments, "predict")) {
      CHECK(e.code == 0);  // short enough
      continue;
    }
    CHECK(e.code == 3);
    CHECK(has(e.err, "File too large (the file system or 'ulimit -f' limits the size of a file)"));
  }
  CHECK_FALSE(fs::exists(run));
  CHECK(fulmar_program({"train", "--out", copy, "--resume"}).code == 0);
}
