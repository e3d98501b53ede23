#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "engine/safetensors.h"

namespace fulmar {

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
