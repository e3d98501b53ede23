#include "tools/run/window_map.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "data/pictures.h"
#include "kernels/error.h"
#include "tools/run/measured.h"

namespace fulmar::tools {
namespace {

// How many of a window's pixels were measured.
class MeasuredCounts {
 public:
  MeasuredCounts(const std::vector<uint8_t>& measured, int64_t height, int64_t width)
      : width_(width + 1), sums_(static_cast<size_t>((height + 1) * width_), 0) {
    for (int64_t row = 0; row < height; row++)
      for (int64_t column = 0; column < width; column++)
        sums_[at(row + 1, column + 1)] = measured[static_cast<size_t>(row * width + column)] +
                                         sums_[at(row, column + 1)] + sums_[at(row + 1, column)] -
                                         sums_[at(row, column)];
  }
  int64_t within(int64_t top, int64_t left, int64_t side) const {
    return sums_[at(top + side, left + side)] - sums_[at(top, left + side)] -
           sums_[at(top + side, left)] + sums_[at(top, left)];
  }

 private:
  size_t at(int64_t row, int64_t column) const {
    return static_cast<size_t>(row * width_ + column);
  }

  int64_t width_;
  std::vector<int64_t> sums_;
};

void copy_window(const data::Image& image, int64_t top, int64_t left, int64_t side, uint8_t* to) {
  const int64_t pixel = image.bands * static_cast<int64_t>(size_of(image.type));
  for (int64_t row = 0; row < side; row++)
    std::memcpy(to + row * side * pixel,
                image.data.data() + ((top + row) * image.width + left) * pixel,
                static_cast<size_t>(side * pixel));
}

}  // namespace

data::Georeference WindowMap::placed(const data::Georeference& scene) const {
  data::Georeference g = scene;
  const double step = static_cast<double>(stride);
  const double right = middle(left, 0) - step / 2, down = middle(top, 0) - step / 2;
  if (g.transform) {
    const std::array<double, 6> t = *g.transform;
    g.transform = {t[0] + right * t[1] + down * t[2], t[1] * step, t[2] * step,
                   t[3] + right * t[4] + down * t[5], t[4] * step, t[5] * step};
  }
  for (data::GroundPoint& point : g.points) {
    point.column = (point.column - right) / step;
    point.row = (point.row - down) / step;
  }
  return g;
}

std::vector<Detection> detections(const WindowMap& map, int64_t label, double threshold) {
  std::vector<Detection> candidates, kept;
  for (int64_t row = 0; row < map.rows; row++)
    for (int64_t column = 0; column < map.columns; column++)
      if (static_cast<double>(map.at(row, column, label)) >= threshold)  // NaN is none
        candidates.push_back(
            {map.middle(map.top, row), map.middle(map.left, column), map.at(row, column, label)});
  std::stable_sort(
      candidates.begin(), candidates.end(),
      [](const Detection& a, const Detection& b) { return a.probability > b.probability; });
  const double reach = static_cast<double>(map.side) / 2;
  for (const Detection& one : candidates)
    if (std::none_of(kept.begin(), kept.end(), [&](const Detection& other) {
          return std::hypot(one.row - other.row, one.column - other.column) <= reach;
        }))
      kept.push_back(one);
  return kept;
}

WindowMap map_windows(model::Classifier& classifier, const std::string& path,
                      const data::BandFiles& bands, int64_t stride, int64_t batch,
                      const data::ImageLimits& limits,
                      const std::function<void(int64_t, int64_t)>& progress) {
  const Preprocess& preprocess = classifier.preprocess();
  if (preprocess.size != 0)
    usage_error(
        "--stride goes with models whose pictures keep their size; this one resizes them to " +
        std::to_string(preprocess.size));
  const data::ImageHeader header = data::probe_sample(path, bands, limits);
  if (const std::string kind = data::kind_misfit(preprocess, header); !kind.empty())
    file_error(path + ": " + kind);
  WindowMap map;
  map.side = preprocess.crop, map.stride = stride;
  map.classes = std::ssize(classifier.task().classes);
  if (header.height < map.side || header.width < map.side)
    file_error(path + ": it has " + std::to_string(header.width) + " x " +
               std::to_string(header.height) + " pixels, fewer than the model's crop of " +
               std::to_string(map.side) + "; leave out --stride");
  map.rows = (header.height - map.side) / stride + 1;
  map.columns = (header.width - map.side) / stride + 1;
  map.top = (header.height - map.side) % stride / 2;
  map.left = (header.width - map.side) % stride / 2;
  map.probabilities.assign(static_cast<size_t>(map.rows * map.columns * map.classes), NAN);
  const data::Image image =
      data::with_channels(data::read_sample(path, bands, limits), preprocess.bands);
  const MeasuredCounts measured(measured_pixels(path, image, {}, preprocess.warp_options(), limits),
                                image.height, image.width);
  const auto bytes = static_cast<size_t>(map.side * map.side * image.bands) * size_of(image.type);
  std::vector<uint8_t> pixels(bytes * static_cast<size_t>(batch));
  std::vector<size_t> places;  // of the windows in `pixels`
  const auto predict = [&] {
    if (places.empty()) return;
    const model::Outputs outputs = classifier.predict(
        view_of(pixels.data(), {std::ssize(places), map.side, map.side, image.bands}, image.type));
    const auto classes = static_cast<size_t>(map.classes);
    for (size_t i = 0; i < places.size(); i++)
      std::copy_n(outputs.probabilities.begin() + static_cast<std::ptrdiff_t>(i * classes), classes,
                  map.probabilities.begin() + static_cast<std::ptrdiff_t>(places[i] * classes));
    places.clear();
  };
  for (int64_t row = 0; row < map.rows; row++) {
    for (int64_t column = 0; column < map.columns; column++) {
      const int64_t top = map.top + row * stride, left = map.left + column * stride;
      if (2 * measured.within(top, left, map.side) < map.side * map.side) continue;
      copy_window(image, top, left, map.side, pixels.data() + places.size() * bytes);
      places.push_back(static_cast<size_t>(row * map.columns + column));
      if (std::ssize(places) == batch) predict();
    }
    progress(row + 1, map.rows);
  }
  predict();
  return map;
}

}  // namespace fulmar::tools
