#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/band_files.h"
#include "data/image.h"
#include "model/scene_session.h"
#include "tools/run/pixel_classes.h"

namespace fulmar::tools {

struct SceneMapOptions {
  int64_t tile = 0;                // side of the parts; 0: the crop, or what must be
  std::optional<int64_t> halo;     // pixels that parts see around their own; none: customary_halo()
  std::optional<uint64_t> memory;  // bytes that choose the tile where it isn't given
  bool probabilities = false;      // also wanted
  int64_t max_pixels = data::ImageLimits{}.max_pixels;
};

// A scene's classes by task; data::unlabelled where nothing was measured.
struct SceneMap {
  int64_t height = 0, width = 0;
  std::vector<std::vector<uint8_t>> tasks;  // places of classes, row after row
  // Where they were asked for: by task [height,width,classes], of numbers these, [height,width,1];
  // NaN where nothing was measured.
  std::vector<std::vector<float>> probabilities{};

  // Of each class of a task, the pixels called so.
  std::vector<int64_t> counts(size_t task, size_t classes) const;
};

// A model that gives each pixel a class, over scenes of any extents, part by part. Where the parts'
// halo shows less than the network may see, neighbours are blended: across what both see, the
// weight of their probabilities goes from one to the other.
class SceneMapper {
 public:
  // Errors as SceneSession. Context and device must outlive it.
  SceneMapper(std::shared_ptr<const model::LoadedModel> model, Context& context, Device& device,
              data::BandFiles bands, const SceneMapOptions& options);

  const std::vector<PixelClasses>& classes() const { return classes_; }
  const Preprocess& preprocess() const { return model_->info().picture(); }

  // `progress`: parts done, of so many; it may throw to end the work. Error(file).
  SceneMap map(const std::string& path, const std::function<void(int64_t, int64_t)>& progress = {});

  // How a scene of these extents is cut.
  struct Parts {
    int64_t tile = 0, halo = 0;
    bool blended = false;
    std::vector<model::SceneSpan> rows, columns;
  };
  // Error(usage): no tile has room for the halo, or fits the memory.
  Parts parts_of(const data::ImageHeader& header) const;

 private:
  class Sums;
  // Rows of a scene, and where something was measured.
  struct Band {
    data::Image image;
    std::vector<uint8_t> measured;
  };
  int64_t largest_tile(const data::ImageHeader& header, int64_t least) const;
  data::Image read_rows(const std::string& path, const data::ImageHeader& header,
                        const data::PicturePart& part);
  Band read_band(const std::string& path, const data::ImageHeader& header,
                 const model::SceneSpan& row);
  View part_of(const data::Image& band, const model::SceneSpan& column);

  Context* context_;
  std::shared_ptr<const model::LoadedModel> model_;
  model::SceneSession session_;
  std::vector<PixelClasses> classes_;
  data::BandFiles bands_;
  SceneMapOptions options_;
  data::ImageLimits limits_;
  int64_t stride_;
  int64_t sees_;  // pixels that a pixel's class may depend on, a side; 0: all
  WarpOptions warp_;
  std::vector<uint8_t> part_;
  data::Image whole_;  // of a file that can't be read in parts
};

}  // namespace fulmar::tools
