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

  static tmsize_t read(thandle_t handle, void* to, tmsize_t size) {
    TiffFile& file = of(handle);
    if (size < 0) return -1;
    const Bytes from = file.reading_ ? file.read_ : Bytes(file.written_);
    const uint64_t there = file.at_ < from.size() ? from.size() - file.at_ : 0;
    const uint64_t count = std::min<uint64_t>(there, static_cast<uint64_t>(size));
    if (count < static_cast<uint64_t>(size) && !file.whole_) file.ends_early_ = true;
    if (count > 0) std::memcpy(to, from.data() + file.at_, static_cast<size_t>(count));
    file.at_ += count;
    return static_cast<tmsize_t>(count);
  }

  static tmsize_t write(thandle_t handle, void* from, tmsize_t size) {
    TiffFile& file = of(handle);
    if (file.reading_ || size < 0) return -1;
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
    TiffFile& file = of(handle);
    if (!file.whole_) file.ends_early_ = true;
    return file.reading_ ? file.read_.size() : file.written_.size();
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

TiffFile::TiffFile(Bytes file, bool whole, const std::string& name)
    : name_(name), read_(file), whole_(whole) {
  // m: no mapping; c: no single strip is cut into several.
  open("rmc", file.size() + working_memory);
  if (!tiff_ && !ends_early_) fail("its first page can't be read");
}

TiffFile::TiffFile(bool big, const std::string& name) : name_(name), reading_(false) {
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

}  // namespace fulmar::data
