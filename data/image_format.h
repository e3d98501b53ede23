#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "data/image.h"

namespace fulmar::data {

using Bytes = std::span<const uint8_t>;

// A decoder: one file with these three functions, and one line in the table of image.cpp.
// `decode` is called with a header that has passed the limits; all throw Error(file) with `name`.
struct ImageFormat {
  const char* name;
  const char* extensions;  // ".jpg .jpeg", lower case
  bool (*matches)(Bytes start);
  // May be given the file's start only; then returns false where that is too little to tell.
  bool (*probe)(Bytes start, bool whole, const std::string& name, ImageHeader& header);
  Image (*decode)(Bytes file, const std::string& name, const ImageHeader& header);
};

extern const ImageFormat png_format, jpeg_format, bmp_format, tiff_format;

// ".tif", in lower case (ASCII); "" where the name has none.
std::string extension_of(const std::string& path);

[[noreturn]] void damaged(const std::string& name, const std::string& what);
[[noreturn]] void unsupported(const std::string& name, const std::string& what);

inline uint32_t big_endian(Bytes bytes, size_t at, int count) {
  uint32_t value = 0;
  for (int i = 0; i < count; i++) value = value << 8 | bytes[at + static_cast<size_t>(i)];
  return value;
}
inline uint32_t little_endian(Bytes bytes, size_t at, int count) {
  uint32_t value = 0;
  for (int i = count - 1; i >= 0; i--) value = value << 8 | bytes[at + static_cast<size_t>(i)];
  return value;
}

}  // namespace fulmar::data
