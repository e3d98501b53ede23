#include "data/tiff_file.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <limits>
#include <memory>
#include <mutex>
#include <string_view>

#include "kernels/error.h"

// Handlers and a memory limit for each file are there from libtiff 4.5 on. Before, handlers are the
// process's: they find the file by the client data that libtiff passes on.
#if TIFFLIB_VERSION >= 20221213
#define FULMAR_TIFF_OPTIONS 1
#else
#define FULMAR_TIFF_OPTIONS 0
#endif

namespace fulmar::data {

namespace {

constexpr TIFFFieldInfo own_tags[] = {
    {tag_pixel_scale, -3, -3, TIFF_DOUBLE, FIELD_CUSTOM, 1, 1, const_cast<char*>("PixelScale")},
    {tag_tiepoints, -3, -3, TIFF_DOUBLE, FIELD_CUSTOM, 1, 1, const_cast<char*>("Tiepoints")},
    {tag_transformation, -3, -3, TIFF_DOUBLE, FIELD_CUSTOM, 1, 1,
     const_cast<char*>("Transformation")},
    {tag_geo_keys, -3, -3, TIFF_SHORT, FIELD_CUSTOM, 1, 1, const_cast<char*>("GeoKeyDirectory")},
    {tag_geo_doubles, -3, -3, TIFF_DOUBLE, FIELD_CUSTOM, 1, 1,
     const_cast<char*>("GeoDoubleParams")},
    {tag_geo_ascii, -1, -1, TIFF_ASCII, FIELD_CUSTOM, 1, 0, const_cast<char*>("GeoAsciiParams")},
    {tag_gdal_nodata, -1, -1, TIFF_ASCII, FIELD_CUSTOM, 1, 0, const_cast<char*>("GdalNodata")},
};

// What libtiff may allocate at once besides the file's size: rows of a strip, tables of places.
constexpr uint64_t working_memory = uint64_t{256} << 20;

// libtiff forgets tags of a single file whenever it begins a page, so they are made known to all of
// the process.
TIFFExtendProc extended_before = nullptr;
void extend(TIFF* tiff) {
  TIFFMergeFieldInfo(tiff, own_tags, std::size(own_tags));
  if (extended_before) extended_before(tiff);
}
void make_tags_known() {
  static std::once_flag once;
  std::call_once(once, [] { extended_before = TIFFSetTagExtender(extend); });
}

}  // namespace

struct TiffFile::Callbacks {
  static TiffFile& of(thandle_t handle) { return *static_cast<TiffFile*>(handle); }

  static tmsize_t read(thandle_t handle, void* to, tmsize_t wanted) {
    TiffFile& file = of(handle);
    if (wanted < 0) return -1;
    const uint64_t end = size(handle), there = file.at_ < end ? end - file.at_ : 0;
    const uint64_t count = std::min<uint64_t>(there, static_cast<uint64_t>(wanted));
    try {
      if (file.read_)
        file.read_->read(file.at_, to, static_cast<size_t>(count));
      else if (count > 0)
        std::memcpy(to, file.written_.data() + file.at_, static_cast<size_t>(count));
    } catch (const std::exception&) {  // must not pass through libtiff
      return -1;
    }
    file.at_ += count;
    return static_cast<tmsize_t>(count);
  }

  static tmsize_t write(thandle_t handle, void* from, tmsize_t size) {
    TiffFile& file = of(handle);
    if (file.read_ || size < 0) return -1;
    try {
      const auto end = static_cast<size_t>(file.at_ + static_cast<uint64_t>(size));
      if (file.written_.size() < end) {
        if (file.written_.capacity() < end)
          file.written_.reserve(std::max(end, 2 * file.written_.capacity()));
        file.written_.resize(end);
      }
      if (size > 0) std::memcpy(file.written_.data() + file.at_, from, static_cast<size_t>(size));
      file.at_ = end;
      return size;
    } catch (const std::bad_alloc&) {  // must not pass through libtiff
      return -1;
    }
  }

  static toff_t seek(thandle_t handle, toff_t offset, int whence) {
    TiffFile& file = of(handle);
    if (whence == SEEK_CUR) offset += file.at_;
    if (whence == SEEK_END) offset += size(handle);
    return file.at_ = offset;
  }

  static toff_t size(thandle_t handle) {
    const TiffFile& file = of(handle);
    return file.read_ ? file.read_->bytes() : file.written_.size();
  }

  static int close(thandle_t) { return 0; }

#if FULMAR_TIFF_OPTIONS
  template <bool is_error>
  static int note(TIFF*, void* file, const char* module, const char* format, va_list arguments) {
    of(file).note(is_error, module, format, arguments);
    return 1;
  }
#else
  template <bool is_error>
  static void note(thandle_t file, const char* module, const char* format, va_list arguments) {
    if (file) of(file).note(is_error, module, format, arguments);
  }
#endif
};

// Called by libtiff's C code, which no exception may pass: allocates nothing.
void TiffFile::note(bool is_error, const char* module, const char* format,
                    va_list arguments) noexcept {
  const std::string_view source = module ? module : "";
  if (!is_error && source == "JPEGLib") jpeg_warned_ = true;
  // Tags of the file's writer are no fault.
  if (!is_error && std::string_view(format).substr(0, 13) == "Unknown field") return;
  std::array<char, 512>& kept = is_error ? error_ : warning_;
  if (kept[0] != 0) return;
  size_t length = 0;
  // The module is the name given to libtiff, or a function of its own.
  if (!source.empty() && source != name_) {
    std::snprintf(kept.data(), kept.size(), "%s: ", module);
    length = std::strlen(kept.data());
  }
  std::vsnprintf(kept.data() + length, kept.size() - length, format, arguments);
  length = std::strlen(kept.data());
  while (length > 0 && (kept[length - 1] == '\n' || kept[length - 1] == '.')) kept[--length] = 0;
  // Names and texts of the file itself may stand in a message.
  for (size_t i = 0; i < length; i++)
    if (static_cast<unsigned char>(kept[i]) < 0x20 || static_cast<unsigned char>(kept[i]) > 0x7e)
      kept[i] = '?';
}

void TiffFile::open(const char* mode, uint64_t memory_limit) {
  make_tags_known();
#if FULMAR_TIFF_OPTIONS
  struct Free {
    void operator()(TIFFOpenOptions* options) const { TIFFOpenOptionsFree(options); }
  };
  const std::unique_ptr<TIFFOpenOptions, Free> options(TIFFOpenOptionsAlloc());
  if (!options) throw std::bad_alloc();
  TIFFOpenOptionsSetErrorHandlerExtR(options.get(), Callbacks::note<true>, this);
  TIFFOpenOptionsSetWarningHandlerExtR(options.get(), Callbacks::note<false>, this);
  TIFFOpenOptionsSetMaxSingleMemAlloc(options.get(), static_cast<tmsize_t>(memory_limit));
  tiff_ = TIFFClientOpenExt(name_.c_str(), mode, this, Callbacks::read, Callbacks::write,
                            Callbacks::seek, Callbacks::close, Callbacks::size, nullptr, nullptr,
                            options.get());
#else
  static_cast<void>(memory_limit);
  static std::once_flag once;
  std::call_once(once, [] {
    TIFFSetErrorHandler(nullptr);
    TIFFSetWarningHandler(nullptr);
    TIFFSetErrorHandlerExt(Callbacks::note<true>);
    TIFFSetWarningHandlerExt(Callbacks::note<false>);
  });
  tiff_ = TIFFClientOpen(name_.c_str(), mode, this, Callbacks::read, Callbacks::write,
                         Callbacks::seek, Callbacks::close, Callbacks::size, nullptr, nullptr);
#endif
}

TiffFile::TiffFile(const ImageFile& file) : name_(file.name()), read_(&file) {
  // m: no mapping; c: no single strip is cut into several.
  open("rmc", file.bytes() + working_memory);
  if (!tiff_) fail("its first page can't be read");
}

TiffFile::TiffFile(bool big, const std::string& name) : name_(name) {
  open(big ? "w8m" : "w4m", std::numeric_limits<int64_t>::max());
  if (!tiff_) fail("it can't be written");
}

TiffFile::~TiffFile() { close(); }

void TiffFile::close() {
  if (tiff_) TIFFClose(tiff_);
  tiff_ = nullptr;
}

void TiffFile::fail(const std::string& what) const {
  damaged(name_, "TIFF: " + what + (complaint().empty() ? "" : " (" + complaint() + ")"));
}

std::string TiffFile::text(uint32_t tag) const {
  const char* found = nullptr;
  return TIFFGetField(tiff_, tag, &found) && found ? found : "";
}

uint64_t TiffFile::count_of(uint32_t tag) const {
  std::array<uint8_t, 20> bytes{};
  const auto read = [&](uint64_t at, size_t count) { read_->read(at, bytes.data(), count); };
  read(0, 4);
  const bool little = bytes[0] == 'I', big_tiff = bytes[little ? 2 : 3] == 43;
  const auto number = [&](size_t at, int count) {
    uint64_t value = 0;
    for (int i = 0; i < count; i++)
      value = value << 8 | bytes[at + static_cast<size_t>(little ? count - 1 - i : i)];
    return value;
  };
  // A count of entries, then the entries: tag, type, count, value.
  uint64_t at = TIFFCurrentDirOffset(tiff_);
  read(at, big_tiff ? 8 : 2);
  const uint64_t entries = number(0, big_tiff ? 8 : 2);
  at += big_tiff ? 8 : 2;
  for (uint64_t entry = 0; entry < entries; entry++) {
    read(at, big_tiff ? 20 : 12);
    if (number(0, 2) == tag) return number(4, big_tiff ? 8 : 4);
    at += big_tiff ? 20 : 12;
  }
  return 0;
}

}  // namespace fulmar::data
