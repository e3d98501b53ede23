#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "data/image.h"
#include "data/picture_errors.h"
#include "kernels/thread_pool.h"

namespace fulmar::data {

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
  int64_t max_height() const;
  int64_t max_width() const;

  // The picture's rows, `row_bytes` apart. Error(file) where it has to be read and can't.
  virtual void copy(int64_t picture, uint8_t* to, int64_t row_bytes) const = 0;
  // "memory", "cache" or "files": where copy() takes them from.
  virtual const char* source() const = 0;
  // Pictures seen so far whose transparency was dropped; from files every copy counts.
  virtual int64_t dropped_alpha() const = 0;

 protected:
  Pictures(std::vector<std::string> paths, std::vector<ImageHeader> headers)
      : paths_(std::move(paths)), headers_(std::move(headers)) {}
  void copy_rows(int64_t picture, const uint8_t* from, uint8_t* to, int64_t row_bytes) const;

 private:
  std::vector<std::string> paths_;
  std::vector<ImageHeader> headers_;  // with the band count that copy() gives
};

struct PictureOptions {
  int64_t bands = 3;  // 1: grey, 3: RGB; pictures are converted
  ImageLimits limits{};
  // Decode each picture when it is copied, and keep nothing: for one pass over them.
  bool once = false;
  // Otherwise they are decoded once: into this folder's cache file if one is given, which later
  // runs map into memory; else into memory if they fit; else they are decoded at every copy.
  std::string cache_folder{};
  uint64_t memory_bytes = uint64_t{4} << 30;
  Progress progress{};  // while decoding
};

// What the pictures will be once they are opened, from their headers. Error(file): names the first
// picture that can't be read, or that has another type than the first one's, and counts the others.
// `progress` may be empty.
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
