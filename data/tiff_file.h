#pragma once

#include <tiffio.h>

#include <array>
#include <cstdarg>
#include <cstdint>
#include <string>
#include <vector>

#include "data/image_format.h"

namespace fulmar::data {

// Tags that libtiff leaves to its users: GeoTIFF 1.1 (OGC 19-008r4), section 7, and GDAL's own.
constexpr uint32_t tag_pixel_scale = 33550, tag_tiepoints = 33922, tag_transformation = 34264,
                   tag_geo_keys = 34735, tag_geo_doubles = 34736, tag_geo_ascii = 34737,
                   tag_gdal_nodata = 42113;

// A TIFF opened by libtiff: its messages are kept here instead of being printed, and it can't read
// past the end or ask for much more memory than the file is long.
class TiffFile {
 public:
  // For reading, at its first page; `file` must outlive it. Error(file): libtiff can't make sense
  // of it.
  explicit TiffFile(const ImageFile& file);
  // For writing; bytes() is the file once close() was called. `big`: BigTIFF, beyond 4 GB.
  TiffFile(bool big, const std::string& name);
  ~TiffFile();
  TiffFile(const TiffFile&) = delete;
  TiffFile& operator=(const TiffFile&) = delete;

  TIFF* get() const { return tiff_; }
  const std::string& name() const { return name_; }
  void close();
  const std::vector<uint8_t>& bytes() const { return written_; }

  // The file being read.
  const ImageFile& file() const { return *read_; }
  // libtiff's first error, else its first warning; empty without either.
  std::string complaint() const { return error_[0] != 0 ? error_.data() : warning_.data(); }
  // A warning of the JPEG decoder: it fills in what is missing or wrong.
  bool jpeg_warned() const { return jpeg_warned_; }
  // Error(file): damaged, with libtiff's complaint behind `what`.
  [[noreturn]] void fail(const std::string& what) const;

  // The value of a tag of one number, or its default by the standard, or `otherwise`.
  template <class T>
  T value(uint32_t tag, T otherwise) const {
    T found = otherwise;
    return TIFFGetFieldDefaulted(tiff_, tag, &found) ? found : otherwise;
  }
  // Numbers of a tag that libtiff leaves to its users; none where it is not there.
  template <class T>
  std::vector<T> values(uint32_t tag) const {
    uint32_t count = 0;
    const T* found = nullptr;
    if (!TIFFGetField(tiff_, tag, &count, &found) || !found) return {};
    return {found, found + count};
  }
  std::string text(uint32_t tag) const;
  // How many values a tag of the page being read has, which libtiff doesn't tell of all; 0 where it
  // is not there. Error(file): the page lies beyond the file.
  uint64_t count_of(uint32_t tag) const;

  // For libtiff's callbacks.
  struct Callbacks;
  void note(bool is_error, const char* module, const char* format, va_list arguments) noexcept;

 private:
  void open(const char* mode, uint64_t memory_limit);

  std::string name_;
  const ImageFile* read_ = nullptr;  // nullptr: it is written
  std::vector<uint8_t> written_;
  bool jpeg_warned_ = false;
  uint64_t at_ = 0;
  std::array<char, 512> error_{}, warning_{};  // texts
  TIFF* tiff_ = nullptr;
};

}  // namespace fulmar::data
