#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/band_files.h"
#include "data/file_digests.h"
#include "data/image.h"
#include "data/picture_errors.h"
#include "engine/picture/geometry.h"
#include "engine/picture/preprocess.h"
#include "kernels/thread_pool.h"

namespace fulmar::data {

// A rectangle of a picture's pixels.
struct Area {
  int64_t top = 0, left = 0, height = 0, width = 0;

  bool empty() const { return height <= 0 || width <= 0; }
};
// What two of them share.
Area intersection(const Area& a, const Area& b);

// A list of pictures of one element type and band count, ready to be copied into batches by any
// thread.
class Pictures {
 public:
  virtual ~Pictures() = default;

  int64_t count() const { return static_cast<int64_t>(paths_.size()); }
  const std::string& path(int64_t picture) const { return paths_[static_cast<size_t>(picture)]; }
  const ImageHeader& header(int64_t picture) const {
    return headers_[static_cast<size_t>(picture)];
  }
  DType type() const { return headers_.front().type; }
  int64_t bands() const { return headers_.front().bands; }
  // The nodata value that all integer pictures share.
  std::optional<double> nodata() const { return headers_.front().nodata; }
  int64_t max_height() const;
  int64_t max_width() const;

  // Copies the picture's rows to `to`, `row_bytes` apart. Error(file) where it can't be read.
  virtual void copy(int64_t picture, uint8_t* to, int64_t row_bytes) const = 0;
  // The same of a part of it.
  virtual void copy_part(int64_t picture, const Area& area, uint8_t* to, int64_t row_bytes) const;
  // Where pictures are kept once they are wanted, decodes this one; else nothing. Errors as copy().
  virtual void decode_ahead(int64_t /*picture*/) const {}
  // How copy()'s picture is read for evaluation and prediction: centre_sample(), or, where only
  // what that reads was decoded, the sample of that part. Error(usage) with misfit().
  virtual WarpSample centre(int64_t picture, const Preprocess& preprocess) const;
  // "memory", "cache" or "files": where copy() takes them from.
  virtual const char* source() const = 0;
  // Of "cache", the path of its file.
  virtual std::string cache_file() const { return ""; }
  // How many pictures were decoded so far, each time counted.
  virtual int64_t decoded() const = 0;
  // Pictures seen so far whose transparency was dropped; from files every copy counts.
  virtual int64_t dropped_alpha() const = 0;

 protected:
  Pictures(std::vector<std::string> paths, std::vector<ImageHeader> headers)
      : paths_(std::move(paths)), headers_(std::move(headers)) {}
  void copy_rows(int64_t picture, const uint8_t* from, uint8_t* to, int64_t row_bytes) const;
  // Of a whole picture in memory.
  void copy_area(int64_t picture, const uint8_t* from, const Area& area, uint8_t* to,
                 int64_t row_bytes) const;

 private:
  std::vector<std::string> paths_;
  std::vector<ImageHeader> headers_;  // with the band count that copy() gives
};

struct PictureOptions {
  // Grey and RGB are converted to 1 or 3, others must have as many; 0: as many as the first.
  int64_t bands = 3;
  BandFiles band_files{};  // how files make up a picture; each path is that of its first file
  ImageLimits limits{};
  // Decode each picture when it is copied, and keep nothing: for one pass over them.
  bool once = false;
  // With `once`: decode only what centre_part() of this record reads. Headers are of that.
  std::optional<Preprocess> centre_of{};
  // Otherwise they are decoded once: into this folder's cache file if one is given, which later
  // runs map into memory; else into memory if they fit, all at once or each when it is first
  // copied; else they are decoded at every copy.
  bool when_wanted = false;
  std::string cache_folder{};
  const FileDigests* digests = nullptr;  // what the cache may know of the files, by path
  uint64_t memory_bytes = uint64_t{4} << 30;
  Progress progress{};  // while decoding
};

// Why a model with this record can't take a picture of this kind, as far as type, bands and nodata
// go, with what to do; empty where it can. Nodata of whole numbers must be what the model takes for
// missing, or else read as it would.
std::string kind_misfit(const Preprocess& preprocess, const ImageHeader& header);

// A picture by itself, as copy() gives it.
Image picture_of(const Pictures& pictures, int64_t picture);

// What the pictures will be once they are opened, from their headers; with one nodata value for all
// of them where some have it and the others none, which is right for 0: it is black either way.
// Error(file): names the first picture that can't be read, or whose type, bands or nodata value
// don't go with the first one's, and counts the others. `progress` may be empty.
std::vector<ImageHeader> probe_pictures(const std::vector<std::string>& paths,
                                        const PictureOptions& options, ThreadPool& pool,
                                        const Progress& progress = {});

// `headers` as probe_pictures() gave them. Error(file): as there, for what can't be decoded.
std::unique_ptr<Pictures> open_pictures(std::vector<std::string> paths,
                                        std::vector<ImageHeader> headers,
                                        const PictureOptions& options, ThreadPool& pool);

// Both of them.
std::unique_ptr<Pictures> open_pictures(std::vector<std::string> paths,
                                        const PictureOptions& options, ThreadPool& pool);

}  // namespace fulmar::data
