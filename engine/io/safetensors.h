#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/io/safetensors_header.h"

namespace fulmar {

// The contents of a safetensors file (https://github.com/huggingface/safetensors: 8 bytes of header
// length, a JSON header, the tensors' bytes without gaps). write_safetensors adds three entries to
// `__metadata__`: `format_version` "1", `data_crc32c` over all tensor bytes, and `header_crc32c`
// over the JSON with that entry's own digits as "00000000". Both checksums have eight hexadecimal
// digits. Reading checks these entries and leaves them out of metadata().
class Safetensors {
 public:
  static constexpr uint64_t max_header_bytes = 100'000'000;
  static constexpr uint64_t default_max_bytes = uint64_t{16} << 30;

  // Error(file) naming the file, what is wrong and what to do: not such a file, cut short, a
  // checksum that doesn't fit, a header that breaks the format in any way, or more than
  // `max_bytes`.
  static Safetensors read(const std::string& path, uint64_t max_bytes = default_max_bytes);
  // The same for a file in memory, which is copied; `name` stands for it in messages.
  static Safetensors parse(std::span<const std::byte> file, const std::string& name,
                           uint64_t max_bytes = default_max_bytes);

  // In the order of their bytes. The first byte of the first is aligned to 64.
  const std::vector<StoredTensor>& tensors() const { return tensors_; }
  const StoredTensor* find(std::string_view name) const;  // nullptr: not there
  const StoredTensor& at(std::string_view name) const;    // Error(file): not there
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const std::string& text(const std::string& key) const;  // of metadata; Error(file): not there
  const std::string& name() const { return name_; }       // path, for messages
  // Remarks about the file for its user, one sentence each.
  const std::vector<std::string>& notes() const { return notes_; }

 private:
  struct Source;
  static Safetensors load(Source& source, uint64_t max_bytes);

  struct FreeAligned {
    void operator()(std::byte* bytes) const;
  };
  std::string name_;
  std::unique_ptr<std::byte[], FreeAligned> data_;
  std::vector<StoredTensor> tensors_;
  std::map<std::string, size_t, std::less<>> by_name_;
  std::map<std::string, std::string> metadata_;
  std::vector<std::string> notes_;
};

// The same file, its tensors read piece by piece: for a reader with a place of its own for each.
class SafetensorsStream {
 public:
  // Reads and checks the header alone. Error(file) as Safetensors::read.
  explicit SafetensorsStream(const std::string& path,
                             uint64_t max_bytes = Safetensors::default_max_bytes);
  ~SafetensorsStream();

  // In the order of their bytes; without data.
  const std::vector<StoredTensor>& tensors() const { return tensors_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const std::vector<std::string>& notes() const { return notes_; }

  // Takes the bytes of tensors()[tensor] from `offset` on.
  using Take = std::function<void(size_t tensor, size_t offset, std::span<const std::byte> bytes)>;
  // Gives all bytes, in order and in pieces of whole elements; once. Error(file) after the last
  // piece where they don't fit their checksum: what was taken is then worth nothing.
  void read(const Take& take);

 private:
  struct State;
  std::unique_ptr<State> state_;
  std::vector<StoredTensor> tensors_;
  std::map<std::string, std::string> metadata_;
  std::vector<std::string> notes_;
};

// Writes the file whole or not at all (AtomicFile). Tensors of larger elements come first, so that
// each is aligned to its element; among equals the given order stays. Error(usage): a name twice, a
// name or text that is not UTF-8, a metadata key of those above, a header over 100 MB.
void write_safetensors(const std::string& path, std::span<const StoredTensor> tensors,
                       const std::map<std::string, std::string>& metadata);

}  // namespace fulmar
