#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "engine/io/file.h"

namespace fulmar::exchange {

// The entries of a zip archive in memory, all of them stored and none compressed, as PyTorch and
// NumPy write them: so nothing of it is larger than the file. The central directory is what counts
// (APPNOTE 6.3, ZIP64 included). Entries are parts of `file`, which must outlive them.
class ZipArchive {
 public:
  // Error(file): no such archive, compressed, encrypted, an entry outside the file or given twice.
  explicit ZipArchive(std::string_view file);

  const std::map<std::string, std::string_view>& entries() const { return entries_; }
  // Error(file) where there is no such entry, or its bytes don't have the CRC-32 of the directory.
  std::string_view read(const std::string& name) const;

 private:
  void read_entry(std::string_view file, size_t& at);

  std::map<std::string, std::string_view> entries_;
  std::map<std::string, uint32_t> crcs_;
};

// Writes an archive of stored entries into a file that appears whole or not at all.
class ZipWriter {
 public:
  explicit ZipWriter(const std::string& path) : file_(path) {}
  // Error(file) as AtomicFile; Error(usage) for an entry or an archive of 4 GiB or more.
  void add(const std::string& name, std::string_view bytes);
  void commit();

 private:
  void write(std::string_view bytes);

  AtomicFile file_;
  std::string directory_;
  uint64_t written_ = 0;
  uint16_t count_ = 0;
};

}  // namespace fulmar::exchange
