#include "data/label_store.h"

#include <cstring>
#include <utility>

#include "kernels/error.h"

namespace fulmar::data {

namespace {

uint64_t bytes_of(const std::vector<ImageHeader>& extents) {
  uint64_t bytes = 0;
  for (const ImageHeader& header : extents) bytes += static_cast<uint64_t>(header.pixels());
  return bytes;
}

}  // namespace

LabelStore::LabelStore(std::vector<LabelLayer> layers, std::vector<ImageHeader> extents,
                       const ImageLimits& limits, uint64_t memory_bytes)
    : layers_(std::move(layers)),
      extents_(std::move(extents)),
      limits_(limits),
      keeps_(bytes_of(extents_) * layers_.size() <= memory_bytes),
      kept_(keeps_ ? extents_.size() * layers_.size() : 0) {
  for (const LabelLayer& layer : layers_) {
    layer.values.check();
    if (layer.files.size() != extents_.size())
      usage_error(std::to_string(layer.files.size()) + " label rasters for " +
                  std::to_string(extents_.size()) + " pictures");
  }
}

void LabelStore::require_extents(size_t layer, int64_t picture) const {
  const ImageHeader& expected = extent(picture);
  const std::string& file = layers_[layer].files[static_cast<size_t>(picture)];
  const ImageHeader header = probe_labels(file, limits_, layers_[layer].values.chart);
  if (header.height != expected.height || header.width != expected.width)
    file_error(file + ": it has " + std::to_string(header.width) + " x " +
               std::to_string(header.height) + " pixels, and its picture " +
               std::to_string(expected.width) + " x " + std::to_string(expected.height) +
               "; labels must lie on the picture's pixels");
}

const std::vector<uint8_t>& LabelStore::kept(size_t layer, int64_t picture) const {
  Kept& place = kept_[static_cast<size_t>(picture) * layers_.size() + layer];
  const std::lock_guard lock(place.mutex);
  if (place.data.empty()) {
    require_extents(layer, picture);
    const LabelLayer& of = layers_[layer];
    place.data = read_labels(of.files[static_cast<size_t>(picture)], of.values, limits_).data;
  }
  return place.data;
}

void LabelStore::read(int64_t picture) const {
  for (size_t layer = 0; keeps_ && layer < layers_.size(); layer++) kept(layer, picture);
}

void LabelStore::copy(size_t layer, int64_t picture, const Area& area, uint8_t* to,
                      int64_t row_bytes) const {
  Image part;
  const uint8_t* from = nullptr;
  int64_t step = area.width;
  if (keeps_) {
    step = extent(picture).width;
    from = kept(layer, picture).data() + area.top * step + area.left;
  } else {
    require_extents(layer, picture);
    const LabelLayer& of = layers_[layer];
    part = read_labels(of.files[static_cast<size_t>(picture)], of.values, limits_,
                       window(area.top, area.left, area.height, area.width));
    from = part.data.data();
  }
  for (int64_t row = 0; row < area.height; row++)
    std::memcpy(to + row * row_bytes, from + row * step, static_cast<size_t>(area.width));
}

}  // namespace fulmar::data
