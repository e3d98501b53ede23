#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace fulmar {

// Element types of the safetensors format.
enum class StoredType : uint8_t {
  f64,
  f32,
  f16,
  bf16,
  i64,
  i32,
  i16,
  i8,
  u64,
  u32,
  u16,
  u8,
  boolean
};

size_t size_of(StoredType type);
const char* name_of(StoredType type);  // as in the file: "F32"

// A tensor in memory that its caller owns; row-major, of any rank.
struct StoredTensor {
  std::string name;
  StoredType type = StoredType::f32;
  std::vector<int64_t> shape;
  const void* data = nullptr;

  int64_t elements() const;
  size_t bytes() const { return static_cast<size_t>(elements()) * size_of(type); }
};

struct SafetensorsEntry {
  StoredTensor tensor;  // without data
  uint64_t begin = 0, end = 0;
};

struct SafetensorsHeader {
  std::vector<SafetensorsEntry> entries;  // by `begin`
  std::map<std::string, std::string> metadata;
};

// Reads the JSON header of a file with `data_bytes` bytes of tensors. Error(file) for any fault,
// for any input bytes: names given twice, unknown types, extents that overflow, tensors that
// overlap, leave gaps or don't fit. `file` is for the message.
SafetensorsHeader parse_safetensors_header(std::string_view json, uint64_t data_bytes,
                                           const std::string& file);

[[noreturn]] void damaged_safetensors(const std::string& file, const std::string& problem);

// Text of an untrusted file for a message: quoted, shortened, control characters escaped.
std::string shown(std::string_view text);

}  // namespace fulmar
