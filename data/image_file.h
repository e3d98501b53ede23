#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "engine/io/file.h"

namespace fulmar::data {

using Bytes = std::span<const uint8_t>;

// A picture's file as decoders see it, on disk or in memory. Each function throws Error(file).
class ImageFile {
 public:
  // Opens a file on disk. all() refuses it where it has more than `most_bytes`.
  explicit ImageFile(const std::string& path, uint64_t most_bytes = UINT64_MAX);
  // Reads bytes in memory, which must outlive this.
  ImageFile(Bytes bytes, const std::string& name);

  const std::string& name() const { return name_; }
  uint64_t bytes() const { return file_ ? file_->bytes() : memory_.size(); }
  // The file's first `count` bytes, or all where it has fewer. They stay valid until all() or a
  // longer start().
  Bytes start(uint64_t count) const;
  Bytes all() const;
  void read(uint64_t at, void* to, size_t count) const;

 private:
  std::string name_;
  std::optional<InputFile> file_;
  uint64_t most_bytes_ = UINT64_MAX;
  Bytes memory_;
  mutable std::string start_;  // of a file on disk, what has been read of it
};

}  // namespace fulmar::data
