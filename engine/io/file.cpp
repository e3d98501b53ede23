#include "engine/io/file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <system_error>
#include <thread>

#include "kernels/error.h"

namespace fulmar {
namespace {

std::string reason_text(int reason) { return std::generic_category().message(reason); }

const char* advice_for_writing(int reason) {
  switch (reason) {
    case ENOSPC:
    case EDQUOT:
      return "free some space there or write to another disk";
    case EACCES:
    case EPERM:
      return "choose a folder in which you may write, or change its permissions";
    case EROFS:
      return "choose a folder on a disk that can be written";
    case ENOENT:
      return "create its folder first";
    case ENOTDIR:
      return "a part of the path is a file; choose another path";
    case EISDIR:
      return "a folder is there; choose another name";
    case EFBIG:
      return "the file system or 'ulimit -f' limits the size of a file";
    case EIO:
      return "check the disk";
    default:
      return "check the path and the disk";
  }
}

const char* advice_for_reading(int reason) {
  switch (reason) {
    case ENOENT:
    case ENOTDIR:
      return "check the path";
    case EACCES:
    case EPERM:
      return "ask its owner for permission to read it";
    case EIO:
      return "check the disk, or copy the file again";
    default:
      return "check the path and the disk";
  }
}

[[noreturn]] void cannot_write(const std::string& path, int reason) {
  file_error("cannot write '" + path + "': " + reason_text(reason) + " (" +
             advice_for_writing(reason) + ")");
}

[[noreturn]] void cannot_read(const std::string& path, int reason) {
  file_error("cannot read '" + path + "': " + reason_text(reason) + " (" +
             advice_for_reading(reason) + ")");
}

// Linux moves less than 2 GiB in one call.
constexpr size_t max_chunk_bytes = size_t{1} << 30;

// 0, or the reason for which not all was written.
int write_all(int file, const void* data, size_t bytes) {
  const char* from = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t done = ::write(file, from, std::min(bytes, max_chunk_bytes));
    if (done < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    from += done;
    bytes -= static_cast<size_t>(done);
  }
  return 0;
}

int sync_file(int file) {
  while (::fsync(file) != 0)
    if (errno != EINTR) return errno;
  return 0;
}

// Some network file systems have no fsync of folders and say so.
int sync_folder(int folder) {
  const int reason = sync_file(folder);
  return reason == EINVAL || reason == ENOTSUP ? 0 : reason;
}

// 0: it is locked; EWOULDBLOCK: somebody else has locked it; another reason: its file system can't
// lock (Lustre without -o flock, FUSE, some NFS mounts).
int lock_file(int file) {
  while (::flock(file, LOCK_EX | LOCK_NB) != 0)
    if (errno != EINTR) return errno;
  return 0;
}

// Whether the path still names this file: between open and lock its last holder may have renamed or
// removed it.
bool is_named(int file, const std::string& path) {
  struct stat opened {
  }, named{};
  return ::fstat(file, &opened) == 0 && ::stat(path.c_str(), &named) == 0 &&
         opened.st_ino == named.st_ino && opened.st_dev == named.st_dev;
}

// A file that holds something may be another machine's.
void remove_empty(int file, const std::string& path) {
  struct stat status {};
  if (::fstat(file, &status) == 0 && status.st_size == 0) ::unlink(path.c_str());
}

// The first 1000 bytes, as far as they can be read.
std::string beginning_of(int file) {
  std::string text(1000, '\0');
  const ssize_t length = ::pread(file, text.data(), text.size(), 0);
  text.resize(length > 0 ? static_cast<size_t>(length) : 0);
  return text;
}

std::string folder_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

AtomicFile::AtomicFile(const std::string& path) : path_(path), target_(path) {
  if (char* resolved = ::realpath(path.c_str(), nullptr)) {
    target_ = resolved;
    std::free(resolved);
  }
  struct stat at_target {};
  const bool exists = ::stat(target_.c_str(), &at_target) == 0;
  if (exists && !S_ISREG(at_target.st_mode)) {
    if (S_ISDIR(at_target.st_mode)) cannot_write(path_, EISDIR);
    file_error("cannot write '" + path_ + "': it is not a regular file (choose another name)");
  }
  if (exists) mode_ = at_target.st_mode & 07777;
  folder_ = ::open(folder_of(target_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder_ < 0) fail(errno);
  open_temporary();
}

// The lock tells a writer at work from what a killed one left behind.
void AtomicFile::open_temporary() {
  const std::string name = target_ + ".tmp";
  for (int attempt = 0; attempt < 100; attempt++) {
    file_ = ::open(name.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, creation_mode());
    if (file_ < 0) fail(errno);
    const int reason = lock_file(file_);
    if (reason == EWOULDBLOCK) {
      abandon();
      file_error("cannot write '" + path_ + "': another program is writing it (wait for it or " +
                 "choose another name)");
    }
    if (reason != 0) {
      remove_empty(file_, name);
      ::close(file_);
      return open_unlocked_temporary();
    }
    if (is_named(file_, name)) {
      temporary_ = name;
      if (::ftruncate(file_, 0) != 0) fail(errno);
      return;
    }
    ::close(file_);
    file_ = -1;
  }
  fail(EBUSY);
}

// Without locks nobody knows whose PATH.tmp is, so each writer takes a name of its own.
void AtomicFile::open_unlocked_temporary() {
  std::random_device random;
  for (int attempt = 0; attempt < 100; attempt++) {
    const std::string name = target_ + "." + std::to_string(random()) + ".tmp";
    file_ = ::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, creation_mode());
    if (file_ < 0 && errno == EEXIST) continue;
    if (file_ < 0) fail(errno);
    temporary_ = name;
    return;
  }
  fail(EEXIST);
}

// Whoever may not read the old file may not read the new one either.
mode_t AtomicFile::creation_mode() const { return mode_ ? (*mode_ & 0777) | S_IWUSR : 0666; }

// Where the file system denies changing modes, the new file keeps the one that it was given.
void AtomicFile::keep_mode() {
  struct stat status {};
  if (mode_ && ::fstat(file_, &status) == 0 && (status.st_mode & 07777) != *mode_)
    static_cast<void>(::fchmod(file_, *mode_));
}

AtomicFile::~AtomicFile() { abandon(); }

void AtomicFile::abandon() {
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
  temporary_.clear();
  if (file_ >= 0) ::close(file_);
  if (folder_ >= 0) ::close(folder_);
  file_ = folder_ = -1;
}

void AtomicFile::fail(int reason) {
  abandon();
  cannot_write(path_, reason);
}

void AtomicFile::write(const void* data, size_t bytes) {
  if (const int reason = write_all(file_, data, bytes)) fail(reason);
}

void AtomicFile::commit() {
  keep_mode();
  if (const int reason = sync_file(file_)) fail(reason);
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) fail(errno);
  temporary_.clear();
  if (const int reason = sync_folder(folder_)) fail(reason);
  abandon();
}

void write_file(const std::string& path, std::string_view contents) {
  AtomicFile file(path);
  file.write(contents.data(), contents.size());
  file.commit();
}

InputFile::InputFile(const std::string& path) : path_(path) {
  // A pipe without a writer would block.
  file_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file_ < 0) cannot_read(path_, errno);
  struct stat status {};
  const int failed = ::fstat(file_, &status) == 0 ? 0 : errno;
  if (failed == 0 && S_ISREG(status.st_mode)) {
    bytes_ = static_cast<uint64_t>(status.st_size);
    return;
  }
  ::close(file_);
  if (failed) cannot_read(path_, failed);
  file_error("cannot read '" + path_ + "': it is " +
             (S_ISDIR(status.st_mode) ? "a folder" : "not a regular file") +
             " (give the path of a file)");
}

InputFile::~InputFile() { ::close(file_); }

namespace {

// `read` moves up to so many bytes, as ::read() does.
template <class Read>
void read_all(const std::string& path, void* to, size_t bytes, const Read& read) {
  char* at = static_cast<char*>(to);
  while (bytes > 0) {
    const ssize_t done = read(at, std::min(bytes, max_chunk_bytes));
    if (done < 0) {
      if (errno == EINTR) continue;
      cannot_read(path, errno);
    }
    if (done == 0)
      file_error("cannot read '" + path + "': it ends too early (copy it again, or wait until " +
                 "it is written)");
    at += done;
    bytes -= static_cast<size_t>(done);
  }
}

}  // namespace

void InputFile::read(void* to, size_t bytes) {
  read_all(path_, to, bytes, [&](char* next, size_t count) { return ::read(file_, next, count); });
}

void InputFile::read_at(uint64_t at, void* to, size_t bytes) const {
  read_all(path_, to, bytes, [&](char* next, size_t count) {
    const ssize_t done = ::pread(file_, next, count, static_cast<off_t>(at));
    if (done > 0) at += static_cast<uint64_t>(done);
    return done;
  });
}

std::string read_file(const std::string& path, uint64_t max_bytes) {
  InputFile file(path);
  if (file.bytes() > max_bytes)
    file_error("cannot read '" + path + "': it has " + std::to_string(file.bytes()) +
               " bytes, at most " + std::to_string(max_bytes) +
               " are expected (check that it is the right file)");
  std::string contents(static_cast<size_t>(file.bytes()), '\0');
  file.read(contents.data(), contents.size());
  return contents;
}

AppendFile::AppendFile(const std::string& path) : path_(path) {
  file_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK, 0666);
  if (file_ < 0) cannot_write(path_, errno);
  struct stat status {};
  const int failed = ::fstat(file_, &status) == 0 ? 0 : errno;
  if (failed == 0 && S_ISREG(status.st_mode)) {
    bytes_ = static_cast<uint64_t>(status.st_size);
    return;
  }
  ::close(file_);
  if (failed) cannot_write(path_, failed);
  file_error("cannot write '" + path_ + "': it is not a regular file (choose another name)");
}

AppendFile::~AppendFile() { ::close(file_); }

void AppendFile::append(std::string_view record) {
  const int reason = write_all(file_, record.data(), record.size());
  if (reason == 0) {
    bytes_ += record.size();
    return;
  }
  std::string also;
  if (::ftruncate(file_, static_cast<off_t>(bytes_)) != 0)
    also = "; its last record is incomplete: " + reason_text(errno);
  file_error("cannot write '" + path_ + "': " + reason_text(reason) + also + " (" +
             advice_for_writing(reason) + ")");
}

void AppendFile::truncate(uint64_t bytes) {
  if (bytes > bytes_)
    usage_error("'" + path_ + "' has " + std::to_string(bytes_) + " bytes and can't be cut to " +
                std::to_string(bytes));
  if (::ftruncate(file_, static_cast<off_t>(bytes)) != 0) cannot_write(path_, errno);
  bytes_ = bytes;
}

void AppendFile::sync() {
  if (const int reason = sync_file(file_)) cannot_write(path_, reason);
}

LockFile::LockFile(const std::string& path, std::string_view holder) : path_(path) {
  for (int attempt = 0; attempt < 100; attempt++) {
    file_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (file_ < 0) cannot_write(path_, errno);
    const int reason = lock_file(file_);
    if (reason == 0 && is_named(file_, path_)) {
      // On a full disk the lock holds without its description.
      if (::ftruncate(file_, 0) == 0)
        static_cast<void>(write_all(file_, holder.data(), holder.size()));
      return;
    }
    if (reason == EWOULDBLOCK) {
      state_ = State::others;
      // Its holder may be about to write.
      for (int wait = 0; wait < 100 && text_.empty(); wait++) {
        if (wait > 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
        text_ = beginning_of(file_);
      }
    } else if (reason != 0) {
      state_ = State::unavailable;
      text_ = reason_text(reason);
      remove_empty(file_, path_);
    }
    ::close(file_);
    file_ = -1;
    if (reason != 0) return;
  }
  cannot_write(path_, EBUSY);
}

// Removed before it is unlocked: who opens it in between sees that it has lost its name.
LockFile::~LockFile() {
  if (file_ < 0) return;
  ::unlink(path_.c_str());
  ::close(file_);
}

void make_folders(const std::string& path) {
  std::error_code failed;
  std::filesystem::create_directories(path, failed);
  if (!failed) return;
  const int reason = failed.value();
  file_error("cannot create the folder '" + path + "': " + reason_text(reason) + " (" +
             (reason == EEXIST || reason == ENOTDIR ? "a file is in its place; choose another name"
                                                    : advice_for_writing(reason)) +
             ")");
}

}  // namespace fulmar
