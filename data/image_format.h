#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "data/image.h"
#include "data/image_file.h"

namespace fulmar::data {

// A decoder: one file with these three functions, and one line in the table of image.cpp. All throw
// Error(file) with the file's name.
struct ImageFormat {
  const char* name;
  const char* extensions;  // ".jpg .jpeg", lower case
  bool (*matches)(Bytes start);
  ImageHeader (*probe)(const ImageFile& file);
  // The part asked for, of a picture whose header has passed the limits. A decoder asks
  // require_memory() before it asks for memory.
  Image (*decode)(const ImageFile& file, const ImageHeader& header, const PicturePart& part,
                  uint64_t memory_bytes);
};

extern const ImageFormat png_format, jpeg_format, bmp_format, tiff_format;

// The numbers of a file as they are stored: places in its palette instead of colours, few bits not
// stretched to 8, white not turned round. Errors as ImageFormat::decode's.
Image stored_png(const ImageFile& file, const PicturePart& part, uint64_t memory_bytes);
Image stored_tiff(const ImageFile& file, const PicturePart& part, uint64_t memory_bytes);

// ".tif", in lower case (ASCII); "" where the name has none.
std::string extension_of(const std::string& path);

[[noreturn]] void damaged(const std::string& name, const std::string& what);
[[noreturn]] void unsupported(const std::string& name, const std::string& what);
// Refuses a picture that takes more memory than there may be.
void require_memory(uint64_t bytes, uint64_t memory_bytes, const std::string& name);

// Enough for the header behind a camera's usual notes.
constexpr uint64_t probe_bytes = 128 << 10;

// ImageFormat::probe by a function of the file's start (and whether that is all of it), which
// returns false where it is too little to tell.
template <bool (*read_header)(Bytes, bool, const std::string&, ImageHeader&)>
ImageHeader probe_start(const ImageFile& file) {
  ImageHeader header;
  if (!read_header(file.start(probe_bytes), file.bytes() <= probe_bytes, file.name(), header))
    read_header(file.all(), true, file.name(), header);
  return header;
}

// ImageFormat::decode by a function that decodes the whole of a file in memory.
template <Image (*decode_bytes)(Bytes, const std::string&, const ImageHeader&)>
Image decode_whole(const ImageFile& file, const ImageHeader& header, const PicturePart& part,
                   uint64_t memory_bytes) {
  require_memory(file.bytes() + static_cast<uint64_t>(header.bytes()), memory_bytes, file.name());
  return cut(decode_bytes(file.all(), file.name(), header), part);
}

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
