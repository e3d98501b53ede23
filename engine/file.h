#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace fulmar {

// Every function here throws Error(file) naming the file, the system's reason and what to do.

// A file that appears whole or not at all. Bytes go to `path`.tmp in the same folder; commit()
// makes them durable (fsync of the file, rename over `path`, fsync of the folder). Without
// commit(), or when a step up to the rename fails, the temporary file is removed and what was at
// `path` stays as it was; where the last fsync fails the new file is there, whole, but a power cut
// may bring the old one back. What a killed program leaves behind as `path`.tmp is overwritten by
// the next writer; two writers at one time are refused. A link at `path` stays a link: the file it
// points to is replaced.
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
  [[noreturn]] void fail(int reason);
  void abandon();

  std::string path_;       // as given, for messages
  std::string target_;     // with links resolved
  std::string temporary_;  // empty once there is nothing to remove
  int file_ = -1;
  int folder_ = -1;
};

void write_file(const std::string& path, std::string_view contents);

// A regular file, read from its start to its end.
class InputFile {
 public:
  explicit InputFile(const std::string& path);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  uint64_t bytes() const { return bytes_; }  // size when it was opened
  // The next `bytes` bytes; a file that ends before them is an error.
  void read(void* to, size_t bytes);

 private:
  std::string path_;
  int file_ = -1;
  uint64_t bytes_ = 0;
};

// The whole file; one of more than `max_bytes` is refused before anything is allocated.
std::string read_file(const std::string& path, uint64_t max_bytes);

// A file that grows by records. A killed program leaves whole records but for perhaps the last; a
// record that can't be written (full disk) is taken back.
class AppendFile {
 public:
  explicit AppendFile(const std::string& path);  // created where it is absent
  ~AppendFile();
  AppendFile(const AppendFile&) = delete;
  AppendFile& operator=(const AppendFile&) = delete;

  uint64_t bytes() const { return bytes_; }
  void append(std::string_view record);
  void truncate(uint64_t bytes);  // keeps the first `bytes` bytes
  void sync();                    // what was appended survives a power cut

 private:
  std::string path_;
  int file_ = -1;
  uint64_t bytes_ = 0;
};

// The folder and those above it that are missing.
void make_folders(const std::string& path);

}  // namespace fulmar
