#include "engine/io/file.h"

#include <dlfcn.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <filesystem>
#include <functional>
#include <string>
#include <system_error>
#include <vector>

#include "kernels/error.h"
#include "tests/support/error_of.h"
#include "tests/support/temp_folder.h"

namespace {

// The system call that fails next, and how. Writes come in pieces of at most `piece` bytes.
struct Fault {
  std::string call;
  int reason = 0;
  int after_calls = 0;
  size_t piece = SIZE_MAX;
  bool once = false;
};
Fault fault;

bool strikes(const char* call) {
  if (fault.call != call) return false;
  if (fault.after_calls > 0) {
    fault.after_calls--;
    return false;
  }
  errno = fault.reason;
  if (fault.once) fault.call.clear();
  return true;
}

template <class Call>
Call next(const char* name) {
  return reinterpret_cast<Call>(::dlsym(RTLD_NEXT, name));
}

}  // namespace

// This program's own calls come first here: faults strike where the library calls the system.
extern "C" {
ssize_t write(int file, const void* data, size_t bytes) {
  if (strikes("write")) return -1;
  static auto call = next<ssize_t (*)(int, const void*, size_t)>("write");
  return call(file, data, bytes < fault.piece ? bytes : fault.piece);
}
int fsync(int file) {
  struct stat status {};
  ::fstat(file, &status);
  if (strikes(S_ISDIR(status.st_mode) ? "fsync of folder" : "fsync")) return -1;
  static auto call = next<int (*)(int)>("fsync");
  return call(file);
}
int rename(const char* from, const char* to) noexcept {
  if (strikes("rename")) return -1;
  static auto call = next<int (*)(const char*, const char*)>("rename");
  return call(from, to);
}
int ftruncate(int file, off_t bytes) noexcept {
  if (strikes("ftruncate")) return -1;
  static auto call = next<int (*)(int, off_t)>("ftruncate");
  return call(file, bytes);
}
int fchmod(int file, mode_t mode) noexcept {
  if (strikes("fchmod")) return -1;
  static auto call = next<int (*)(int, mode_t)>("fchmod");
  return call(file, mode);
}
int flock(int file, int operation) noexcept {
  if (strikes("flock")) return -1;
  static auto call = next<int (*)(int, int)>("flock");
  return call(file, operation);
}
}

namespace {

using fulmar::AppendFile;
using fulmar::AtomicFile;
using fulmar::Error;
using fulmar::ErrorKind;
using fulmar::LockFile;
using fulmar::test::error_of;
using fulmar::test::has;
using fulmar::test::TempFolder;

std::string content_of(const std::string& path) { return fulmar::read_file(path, 1 << 20); }

std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    names.push_back(entry.path().filename());
  return names;
}

// Runs `action` as a user who owns nothing and returns the message of its Error(file).
std::string file_error_as_nobody(const std::function<void()>& action) {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    if (::getuid() == 0 && (::setgid(65534) != 0 || ::setuid(65534) != 0)) ::_exit(1);
    const std::string message = error_of(ErrorKind::file, action);
    const ssize_t done = ::write(ends[1], message.data(), message.size());
    ::_exit(done == static_cast<ssize_t>(message.size()) ? 0 : 1);
  }
  ::close(ends[1]);
  std::string message;
  char piece[256];
  for (ssize_t got; (got = ::read(ends[0], piece, sizeof piece)) > 0;) message.append(piece, got);
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  CHECK(status == 0);
  return message;
}

}  // namespace

TEST_CASE("an atomic file appears with all its bytes and leaves no temporary one") {
  TempFolder folder;
  const std::string path = folder.path("a.bin");
  {
    AtomicFile file(path);
    file.write("ab", 2);
    file.write("cde", 3);
    CHECK(!std::filesystem::exists(path));
    file.commit();
  }
  CHECK(content_of(path) == "abcde");
  CHECK(names_in(folder.path()).size() == 1);

  fulmar::write_file(path, "shorter, then longer");
  CHECK(content_of(path) == "shorter, then longer");
}

TEST_CASE("an atomic file that is not committed changes nothing") {
  TempFolder folder;
  const std::string path = folder.path("a.bin");
  fulmar::write_file(path, "old");
  { AtomicFile(path).write("new", 3); }
  CHECK(content_of(path) == "old");
  CHECK(names_in(folder.path()).size() == 1);
}

TEST_CASE("a failure at any step of writing removes the temporary file and names file and remedy") {
  struct Step {
    const char* call;
    int reason;
    const char* text;
    const char* advice;
  };
  const Step steps[] = {
      {"ftruncate", EIO, "Input/output error", "check the disk"},
      {"write", ENOSPC, "No space left on device", "free some space"},
      {"write", EDQUOT, "Disk quota exceeded", "free some space"},
      {"write", EFBIG, "File too large", "ulimit -f"},
      {"fsync", EIO, "Input/output error", "check the disk"},
      {"fsync", ENOSPC, "No space left on device", "free some space"},
      {"rename", EACCES, "Permission denied", "folder in which you may write"},
  };
  for (const Step& step : steps)
    for (const bool exists : {false, true}) {
      CAPTURE(step.call);
      CAPTURE(exists);
      TempFolder folder;
      const std::string path = folder.path("model.safetensors");
      if (exists) fulmar::write_file(path, "old");
      fault = {step.call, step.reason, 0, 2, false};
      const std::string message =
          error_of(ErrorKind::file, [&] { fulmar::write_file(path, "new bytes"); });
      fault = {};
      CHECK(has(message, path));
      CHECK(has(message, step.text));
      CHECK(has(message, step.advice));
      CHECK(names_in(folder.path()).size() == (exists ? 1 : 0));
      if (exists) CHECK(content_of(path) == "old");
    }
}

TEST_CASE("a disk that is full in the middle of a write leaves the old file") {
  TempFolder folder;
  const std::string path = folder.path("a");
  fulmar::write_file(path, "old");
  fault = {"write", ENOSPC, 3, 2, false};
  const std::string message =
      error_of(ErrorKind::file, [&] { fulmar::write_file(path, "0123456789"); });
  fault = {};
  CHECK(has(message, "No space left on device"));
  CHECK(content_of(path) == "old");
  CHECK(names_in(folder.path()).size() == 1);
}

TEST_CASE("writes that the system does in pieces or interrupts are carried on") {
  TempFolder folder;
  fault = {"write", EINTR, 1, 3, true};
  fulmar::write_file(folder.path("a"), "0123456789");
  CHECK(fault.call.empty());  // it struck
  fault = {};
  CHECK(content_of(folder.path("a")) == "0123456789");
}

TEST_CASE(
    "after the rename a folder that can't be made durable is an error, where it has no fsync not") {
  TempFolder folder;
  fault = {"fsync of folder", EIO, 0, SIZE_MAX, false};
  CHECK(has(error_of(ErrorKind::file, [&] { fulmar::write_file(folder.path("a"), "x"); }),
            "check the disk"));
  fault = {"fsync of folder", EINVAL, 0, SIZE_MAX, false};
  CHECK(error_of(ErrorKind::file, [&] { fulmar::write_file(folder.path("b"), "x"); }) ==
        "no error");
  fault = {};
}

TEST_CASE("paths that can't be written are refused by name") {
  TempFolder folder;
  fulmar::write_file(folder.path("file"), "x");
  const std::string in_missing = folder.path("no/such/file");
  const std::string message =
      error_of(ErrorKind::file, [&] { fulmar::write_file(in_missing, "x"); });
  CHECK(has(message, in_missing));
  CHECK(has(message, "create its folder first"));
  CHECK(has(error_of(ErrorKind::file, [&] { fulmar::write_file(folder.path(), "x"); }),
            "a folder is there"));
  CHECK(has(error_of(ErrorKind::file, [&] { fulmar::write_file(folder.path("file/b"), "x"); }),
            "a part of the path is a file"));
  CHECK(has(error_of(ErrorKind::file, [&] { fulmar::make_folders(folder.path("file/b")); }),
            "a file is in its place"));
}

TEST_CASE("a user without permission is told so, for reading and writing") {
  TempFolder folder;
  fulmar::write_file(folder.path("secret"), "x");
  REQUIRE(::chmod(folder.path("secret").c_str(), 0) == 0);
  REQUIRE(::chmod(folder.path().c_str(), 0555) == 0);
  const std::string written =
      file_error_as_nobody([&] { fulmar::write_file(folder.path("a"), "x"); });
  CHECK(has(written, "cannot write '" + folder.path("a") + "': Permission denied"));
  CHECK(has(written, "folder in which you may write"));
  CHECK(has(file_error_as_nobody([&] { AppendFile(folder.path("a")); }), "Permission denied"));
  CHECK(has(file_error_as_nobody([&] { fulmar::make_folders(folder.path("a/b")); }),
            "cannot create the folder '" + folder.path("a/b") + "': Permission denied"));
  CHECK(has(file_error_as_nobody([&] { fulmar::read_file(folder.path("secret"), 9); }),
            "ask its owner"));
  REQUIRE(::chmod(folder.path().c_str(), 0755) == 0);
}

TEST_CASE("what a killed writer left behind is overwritten, a writer at work is not") {
  TempFolder folder;
  const std::string path = folder.path("a");
  fulmar::write_file(path + ".tmp", "a long rest of a killed run");
  fulmar::write_file(path, "new");
  CHECK(content_of(path) == "new");
  CHECK(names_in(folder.path()).size() == 1);

  AtomicFile first(path);
  first.write("first", 5);
  CHECK(has(error_of(ErrorKind::file, [&] { AtomicFile second(path); }),
            "another program is writing it"));
  first.commit();
  CHECK(content_of(path) == "first");
}

TEST_CASE("a file system that denies locks or modes loses nothing, at the first save or later") {
  struct Denial {
    const char* call;
    int reason;
  };
  for (const Denial& denial :
       {Denial{"flock", ENOSYS}, Denial{"flock", ENOLCK}, Denial{"flock", EOPNOTSUPP},
        Denial{"flock", EINVAL}, Denial{"fchmod", EPERM}, Denial{"fchmod", EACCES},
        Denial{"fchmod", ENOTSUP}, Denial{"fchmod", ENOSYS}}) {
    CAPTURE(denial.call);
    CAPTURE(denial.reason);
    TempFolder folder;
    const std::string path = folder.path("model.safetensors");
    fulmar::write_file(path + ".tmp", "a long rest of a killed run");
    fault = {denial.call, denial.reason, 0, SIZE_MAX, false};
    for (int save = 0; save < 100; save++) {
      fulmar::write_file(path, std::to_string(save));
      if (save == 0) REQUIRE(::chmod(path.c_str(), 0666) == 0);  // no new file has it
    }
    // Two at a time: each file is whole, and the last one stays.
    if (denial.call == std::string("flock")) {
      AtomicFile first(path), second(path);
      first.write("first", 5);
      second.write("second", 6);
      second.commit();
      CHECK(content_of(path) == "second");
      first.commit();
      CHECK(content_of(path) == "first");
    } else {
      CHECK(content_of(path) == "99");
    }
    fault = {};
    // Whose the old rest is, nobody knows there.
    std::filesystem::remove(path + ".tmp");
    CHECK(names_in(folder.path()).size() == 1);
  }
}

TEST_CASE("a lock file is held by one process at a time, and says by which") {
  const TempFolder folder;
  const std::string path = folder.path("run.lock");
  {
    const LockFile mine(path, "process 1 on a host");
    CHECK(mine.state() == LockFile::State::mine);
    const LockFile second(path, "process 2");
    CHECK(second.state() == LockFile::State::others);
    CHECK(second.text() == "process 1 on a host");
  }
  CHECK(names_in(folder.path()).empty());

  // A killed process holds nothing any more.
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const LockFile held(path, "process 3, which was killed");
    ::raise(SIGKILL);
  }
  ::waitpid(child, nullptr, 0);
  CHECK(content_of(path) == "process 3, which was killed");
  {
    const LockFile taken(path, "process 4");
    CHECK(taken.state() == LockFile::State::mine);
    CHECK(content_of(path) == "process 4");
  }

  for (const int reason : {ENOSYS, ENOLCK, EOPNOTSUPP}) {
    fault = {"flock", reason, 0, SIZE_MAX, false};
    const LockFile unknown(path, "process 5");
    fault = {};
    CHECK(unknown.state() == LockFile::State::unavailable);
    CHECK(unknown.text() == std::generic_category().message(reason));
  }
  CHECK(names_in(folder.path()).empty());
  CHECK(has(error_of(ErrorKind::file, [&] { LockFile(folder.path("no/lock"), ""); }),
            "create its folder first"));
}

TEST_CASE("a link stays a link and permissions are kept") {
  TempFolder folder;
  std::filesystem::create_directory(folder.path("there"));
  fulmar::write_file(folder.path("there/real"), "old");
  REQUIRE(::chmod(folder.path("there/real").c_str(), 0640) == 0);
  std::filesystem::create_symlink("there/real", folder.path("link"));
  fulmar::write_file(folder.path("link"), "new");
  CHECK(std::filesystem::is_symlink(folder.path("link")));
  CHECK(content_of(folder.path("there/real")) == "new");
  struct stat status {};
  REQUIRE(::stat(folder.path("there/real").c_str(), &status) == 0);
  CHECK((status.st_mode & 07777) == 0640);
}

TEST_CASE("reading is bounded and says what is wrong") {
  TempFolder folder;
  fulmar::write_file(folder.path("a"), "0123456789");
  CHECK(has(error_of(ErrorKind::file, [&] { fulmar::read_file(folder.path("a"), 9); }),
            "has 10 bytes"));
  CHECK(content_of(folder.path("a")) == "0123456789");
  CHECK(has(error_of(ErrorKind::file, [&] { fulmar::read_file(folder.path("b"), 9); }),
            "No such file or directory (check the path)"));
  CHECK(has(error_of(ErrorKind::file, [&] { fulmar::read_file(folder.path(), 9); }),
            "it is a folder"));
  REQUIRE(::mkfifo(folder.path("pipe").c_str(), 0600) == 0);
  CHECK(has(error_of(ErrorKind::file, [&] { fulmar::read_file(folder.path("pipe"), 9); }),
            "not a regular file"));
  fulmar::InputFile file(folder.path("a"));
  char bytes[11];
  CHECK(has(error_of(ErrorKind::file, [&] { file.read(bytes, 11); }), "ends too early"));
}

TEST_CASE("an append file grows by records, can be cut, and takes back what did not fit") {
  TempFolder folder;
  const std::string path = folder.path("log");
  {
    AppendFile file(path);
    file.append("one\n");
    file.append("two\n");
    fault = {"write", ENOSPC, 1, 2, false};
    const std::string message = error_of(ErrorKind::file, [&] { file.append("three\n"); });
    fault = {};
    CHECK(has(message, path));
    CHECK(has(message, "free some space"));
    CHECK(content_of(path) == "one\ntwo\n");
    file.append("four\n");
    file.sync();
  }
  AppendFile again(path);
  CHECK(again.bytes() == 13);
  again.truncate(4);
  again.append("five\n");
  CHECK(content_of(path) == "one\nfive\n");
  CHECK_THROWS_AS(again.truncate(99), Error);
  fault = {"fsync", EIO, 0, SIZE_MAX, false};
  CHECK(has(error_of(ErrorKind::file, [&] { again.sync(); }), "check the disk"));
  fault = {};
}
