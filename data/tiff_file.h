#pragma once

#include <tiffio.h>

#include <array>
#include <cstdarg>
#include <cstdint>
#include <string>
#include <vector>

#include "data/image_format.h"

namespace fulmar::data {

// libtiff leaves these tags to its users: GeoTIFF 1.1 (OGC 19-008r4), section 7, and GDAL's own.
constexpr uint32_t tag_pixel_scale = 33550, tag_tiepoints = 33922, tag_transformation = 34264,
                   tag_geo_keys = 34735, tag_geo_doubles = 34736, tag_geo_ascii = 34737,
                   tag_gdal_nodata = 42113;

// A TIFF opened by libtiff. It keeps libtiff's messages and prints none. It lets libtiff neither
// read past the file's end nor ask for much more memory than the file is long.
class TiffFile {
 public:
  // Opens a file for reading, at its first page; `file` must outlive this. Error(file): libtiff
  // can't make sense of it.
  explicit TiffFile(const ImageFile& file);
  // Opens a file in memory for writing: close() completes it, bytes() then holds it. `big`:
  // BigTIFF, which files beyond 4 GB need.
  TiffFile(bool big, const std::string& name);
  ~TiffFile();
  TiffFile(const TiffFile&) = delete;
  TiffFile& operator=(const TiffFile&) = delete;

  TIFF* get() const { return tiff_; }
  const std::string& name() const { return name_; }
  void close();
  const std::vector<uint8_t>& bytes() const { return written_; }

  // The file that is read; not for one that is written.
  const ImageFile& file() const { return *read_; }
  // libtiff's first error, else its first warning; empty without either.
  std::string complaint() const { return error_[0] != 0 ? error_.data() : warning_.data(); }
  // Whether the JPEG decoder warned: it makes up pixels where data are missing or wrong.
  bool jpeg_warned() const { return jpeg_warned_; }
  // Throws Error(file) that says `what` and then libtiff's complaint.
  [[noreturn]] void fail(const std::string& what) const;

  // The value of a tag of one number, or its default by the standard, or `otherwise`.
  template <class T>
  T value(uint32_t tag, T otherwise) const {
    T found = otherwise;
    return TIFFGetFieldDefaulted(tiff_, tag, &found) ? found : otherwise;
  }
  // The numbers of a tag that libtiff leaves to its users; none where the page lacks the tag.
  template <class T>
  std::vector<T> values(uint32_t tag) const {
    uint32_t count = 0;
    const T* found = nullptr;
    if (!TIFFGetField(tiff_, tag, &count, &found) || !found) return {};
    return {found, found + count};
  }
  std::string text(uint32_t tag) const;
  // The number of values of a tag of the page that is read, 0 where the page lacks the tag: libtiff
  // tells it of some tags only. Error(file): the page lies beyond the file.
  uint64_t count_of(uint32_t tag) const;

  // libtiff's callbacks use these.
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
