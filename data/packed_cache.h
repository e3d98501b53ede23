#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "data/file_digests.h"
#include "data/image.h"
#include "data/picture_errors.h"
#include "kernels/thread_pool.h"

namespace fulmar::data {

struct PackedPicture {
  std::vector<std::string> files;  // that it is read from
  ImageHeader header;              // as it is to be packed
};

// Decoded pictures in one file, mapped into memory. Its name has hashes of the pictures' paths and
// contents: moved pictures find their file again, and a new file of changed pictures takes the old
// one's place. Layout: each picture's rows at a multiple of 64 bytes; a
// table of their extents as JSON; at the end u64 bytes and u32 CRC-32C of the table, u32 version,
// "FULMPACK".
class PackedCache {
 public:
  PackedCache() = default;
  PackedCache(PackedCache&& other) noexcept { *this = std::move(other); }
  PackedCache& operator=(PackedCache&& other) noexcept;
  ~PackedCache();

  // Maps the file of these pictures; decodes them into it where there is none yet, or a damaged one
  // (whole files or none are written). `digests` of the pictures' files, by path; those that are
  // missing are read. Error(file): a picture or the folder.
  static PackedCache open_or_build(const std::string& folder,
                                   const std::vector<PackedPicture>& pictures,
                                   const FileDigests& digests,
                                   const std::function<Image(int64_t)>& decode, ThreadPool& pool,
                                   const Progress& progress);

  const uint8_t* picture(int64_t i) const { return map_ + begins_[static_cast<size_t>(i)]; }
  int64_t dropped_alpha() const { return dropped_alpha_; }
  const std::string& path() const { return path_; }

 private:
  // false: no such file, or not a whole one of these pictures.
  bool open(const std::string& path, const std::vector<PackedPicture>& pictures);

  std::string path_;
  uint8_t* map_ = nullptr;
  size_t map_bytes_ = 0;
  std::vector<size_t> begins_;
  int64_t dropped_alpha_ = 0;
};

// Paths of all such files in a folder, of this and older versions.
std::vector<std::string> cache_files(const std::string& folder);

}  // namespace fulmar::data
