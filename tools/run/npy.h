#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace fulmar::tools {

// What stands before an array's bytes in NumPy's .npy files, version 1.0, for a type such as "<f4".
std::string npy_header(const std::string& type, const std::vector<int64_t>& shape);

// A float32 array as NumPy's .npy file, version 1.0 (NumPy Enhancement Proposal 1), row-major;
// whole or not at all. Error(file).
void write_npy(const std::string& path, const std::vector<int64_t>& shape,
               std::span<const float> values);

}  // namespace fulmar::tools
