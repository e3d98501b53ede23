#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "data/label_raster.h"
#include "data/pictures.h"

namespace fulmar::data {

// A task's labels of pictures: where they are, and what their numbers mean.
struct LabelLayer {
  std::string name;
  LabelValues values;
  std::vector<std::string> files;  // one for each picture
};

// The label rasters of a list of pictures, by layers, ready to be copied into batches by any
// thread. Each is read when it is first wanted, and kept where all of them fit.
class LabelStore {
 public:
  // `extents`: the pictures' headers, which the labels must equal in height and width.
  LabelStore(std::vector<LabelLayer> layers, std::vector<ImageHeader> extents,
             const ImageLimits& limits, uint64_t memory_bytes);

  size_t layers() const { return layers_.size(); }
  const LabelLayer& layer(size_t at) const { return layers_[at]; }
  int64_t count() const { return static_cast<int64_t>(extents_.size()); }
  const ImageHeader& extent(int64_t picture) const {
    return extents_[static_cast<size_t>(picture)];
  }
  bool keeps() const { return keeps_; }  // in memory

  // Copies part of a picture's labels, rows `row_bytes` apart. Error(file): a file that can't be
  // read, of other extents than the picture, or with a number that is no class's.
  void copy(size_t layer, int64_t picture, const Area& area, uint8_t* to, int64_t row_bytes) const;
  // Reads a picture's labels, where they are kept.
  void read(int64_t picture) const;

 private:
  struct Kept {
    std::mutex mutex;  // who wants labels that another thread reads waits for it
    std::vector<uint8_t> data;
  };
  const std::vector<uint8_t>& kept(size_t layer, int64_t picture) const;
  void require_extents(size_t layer, int64_t picture) const;

  std::vector<LabelLayer> layers_;
  std::vector<ImageHeader> extents_;
  ImageLimits limits_;
  bool keeps_;
  mutable std::vector<Kept> kept_;  // by picture, then by layer
};

}  // namespace fulmar::data
