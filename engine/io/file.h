#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace fulmar {

// Every function here throws Error(file) naming the file, the system's reason and what to do.
// A write beyond the process's limit of file sizes (ulimit -f) is such an error only in a process
// that ignores SIGXFSZ, as the program does; the library takes no signal.

// A file that appears whole or not at all. write() fills `path`.tmp in the same folder; commit()
// makes it durable (fsync of the file, rename over `path`, fsync of the folder). Without commit(),
// or when a step up to the rename fails, the temporary file is removed and the file at `path`
// stays. When the last fsync fails the new file is there, whole, but a power cut may bring the old
// one back. The next writer overwrites a `path`.tmp that a killed program left; a second writer at
// the same time is refused. Where the file system can't lock, each writer has a file of its own,
// `path`.NUMBER.tmp, and the last commit() wins; nobody removes such a file of a killed program. A
// link at `path` stays a link: its target is replaced. The new file gets the old one's mode where
// the file system allows it.
class AtomicFile {
 public:
  explicit AtomicFile(const std::string& path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* data, size_t bytes);
  void commit();

 private:
  void open_temporary();
  void open_unlocked_temporary();
  mode_t creation_mode() const;
  void keep_mode();
  [[noreturn]] void fail(int reason);
  void abandon();

  std::string path_;              // as given, for messages
  std::string target_;            // with links resolved
  std::string temporary_;         // empty once there is nothing to remove
  std::optional<mode_t> mode_{};  // of the file to be replaced
  int file_ = -1;
  int folder_ = -1;
};

void write_file(const std::string& path, std::string_view contents);

// A regular file to be read.
class InputFile {
 public:
  explicit InputFile(const std::string& path);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  uint64_t bytes() const { return bytes_; }  // size when it was opened
  // The next `bytes` bytes; a file that ends before them is an error.
  void read(void* to, size_t bytes);
  // The same from byte `at` on, by any thread; what read() gives next stays as it was.
  void read_at(uint64_t at, void* to, size_t bytes) const;

 private:
  std::string path_;
  int file_ = -1;
  uint64_t bytes_ = 0;
};

// The whole file; one of more than `max_bytes` is refused before anything is allocated.
std::string read_file(const std::string& path, uint64_t max_bytes);

// A file that grows by records. A killed program leaves whole records, except perhaps the last one.
// append() takes back a record that it can't write whole (full disk).
class AppendFile {
 public:
  explicit AppendFile(const std::string& path);  // created where it is absent
  ~AppendFile();
  AppendFile(const AppendFile&) = delete;
  AppendFile& operator=(const AppendFile&) = delete;

  uint64_t bytes() const { return bytes_; }
  void append(std::string_view record);
  void truncate(uint64_t bytes);  // keeps the first `bytes` bytes
  void sync();                    // appended records then survive a power cut

 private:
  std::string path_;
  int file_ = -1;
  uint64_t bytes_ = 0;
};

// A file that one process at a time holds, by a lock which the system takes back when the process
// ends, however it ends: the file that a killed one leaves behind is taken over.
class LockFile {
 public:
  enum class State {
    mine,
    others,      // another process holds it
    unavailable  // the file system can't lock: nobody knows
  };

  // Writes `holder`, at most 1000 bytes, into the file once it is held.
  LockFile(const std::string& path, std::string_view holder);
  ~LockFile();  // removes the file where it was held
  LockFile(const LockFile&) = delete;
  LockFile& operator=(const LockFile&) = delete;

  State state() const { return state_; }
  // others: what its holder wrote, as far as it can be read; unavailable: the system's reason.
  const std::string& text() const { return text_; }

 private:
  std::string path_, text_;
  State state_ = State::mine;
  int file_ = -1;
};

// Makes the folder and the missing folders above it.
void make_folders(const std::string& path);

}  // namespace fulmar
