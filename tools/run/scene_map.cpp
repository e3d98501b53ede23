#include "tools/run/scene_map.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <future>
#include <limits>
#include <utility>

#include "data/geotiff.h"
#include "data/ice_scene.h"
#include "kernels/error.h"
#include "model/explain/receptive_field.h"
#include "tools/run/measured.h"
#include "tools/run/pixel_evaluation.h"
#include "tools/run/results.h"

namespace fulmar::tools {

using model::SceneSession;
using model::SceneSpan;

namespace {

// How much a part counts at a pixel of a line: its own pixels alone, or, blended, all of its own
// middle, less towards the end of what it sees where a neighbour goes on.
std::vector<float> weights_along(const SceneSpan& span, int64_t extent, bool blended) {
  std::vector<float> weights(static_cast<size_t>(span.end - span.start), blended ? 1.0F : 0.0F);
  if (!blended) {
    std::fill(weights.begin() + (span.own_start - span.start),
              weights.begin() + (span.own_end - span.start), 1.0F);
    return weights;
  }
  const auto ramp = [&](int64_t around, const auto& place) {
    for (int64_t i = 0; i < std::min(2 * around, std::ssize(weights)); i++)
      place(i) *=
          static_cast<float>((static_cast<double>(i) + 0.5) / (2 * static_cast<double>(around)));
  };
  if (span.start > 0)
    ramp(span.own_start - span.start,
         [&](int64_t i) -> float& { return weights[static_cast<size_t>(i)]; });
  if (span.own_end < extent)
    ramp(span.end - span.own_end,
         [&](int64_t i) -> float& { return weights[weights.size() - 1 - static_cast<size_t>(i)]; });
  return weights;
}

}  // namespace

std::vector<int64_t> SceneMap::counts(size_t task, size_t classes) const {
  std::vector<int64_t> counts(256, 0);
  for (const uint8_t k : tasks[task]) counts[k]++;
  counts.resize(classes);
  return counts;
}

// Sums of probabilities of the rows that parts may still add to, `rows` at most, in turn.
class SceneMapper::Sums {
 public:
  Sums(ThreadPool& pool, const std::vector<PixelClasses>& classes, int64_t width, int64_t rows)
      : pool_(pool), classes_(classes), width_(width), rows_(rows) {
    for (const PixelClasses& of_task : classes) {
      channels_.push_back(of_task.channels());
      sums_.emplace_back(static_cast<size_t>(rows * width * of_task.channels()));
    }
    weights_.resize(static_cast<size_t>(rows * width));
  }

  void add(const std::vector<std::vector<float>>& probabilities, const SceneSpan& row,
           const SceneSpan& column, const std::vector<float>& down,
           const std::vector<float>& across) {
    const int64_t width = column.end - column.start;
    pool_.run(row.end - row.start, [&](int64_t line, int) {
      const float of_line = down[static_cast<size_t>(line)];
      const int64_t to = start_of(row.start + line) + column.start;
      for (int64_t x = 0; x < width; x++)
        weights_[static_cast<size_t>(to + x)] += of_line * across[static_cast<size_t>(x)];
      for (size_t task = 0; task < sums_.size(); task++) {
        const int64_t channels = channels_[task];
        const float* from = probabilities[task].data() + line * width * channels;
        float* sum = sums_[task].data() + to * channels;
        for (int64_t x = 0; x < width; x++) {
          const float weight = of_line * across[static_cast<size_t>(x)];
          for (int64_t k = 0; k < channels; k++) *sum++ += weight * *from++;
        }
      }
    });
  }

  // Nothing is added to rows above this one any more: their classes, and probabilities where the
  // map has room for them.
  void settle(int64_t row, SceneMap& map) {
    pool_.run(row - first_, [&](int64_t line, int) {
      const int64_t from = start_of(first_ + line);
      float* const weights = &weights_[static_cast<size_t>(from)];
      for (size_t task = 0; task < sums_.size(); task++) {
        const int64_t channels = channels_[task];
        float* const sums = &sums_[task][static_cast<size_t>(from * channels)];
        const auto to = static_cast<size_t>((first_ + line) * width_);
        for (int64_t x = 0; x < width_; x++) {
          float* const all = sums + x * channels;
          for (int64_t k = 0; k < channels; k++) all[k] /= weights[x];
          map.tasks[task][to + static_cast<size_t>(x)] =
              static_cast<uint8_t>(classes_[task].called(all));
        }
        if (!map.probabilities.empty())
          std::copy_n(sums, width_ * channels,
                      map.probabilities[task].begin() + static_cast<std::ptrdiff_t>(to) * channels);
        std::fill_n(sums, width_ * channels, 0.0F);
      }
      std::fill_n(weights, width_, 0.0F);
    });
    first_ = row;
  }

 private:
  int64_t start_of(int64_t row) const { return row % rows_ * width_; }

  ThreadPool& pool_;
  const std::vector<PixelClasses>& classes_;
  int64_t width_, rows_;
  int64_t first_ = 0;
  std::vector<int64_t> channels_;
  std::vector<std::vector<float>> sums_;
  std::vector<float> weights_;
};

SceneMapper::SceneMapper(std::shared_ptr<const model::LoadedModel> model, Context& context,
                         Device& device, data::BandFiles bands, const SceneMapOptions& options)
    : context_(&context),
      model_(std::move(model)),
      session_(model_, context, device),
      classes_(classes_of(model_->heads())),
      bands_(std::move(bands)),
      options_(options),
      limits_(image_limits(options.max_pixels)),
      stride_(model::coarsest_stride(model_->info().network)),
      sees_(model::explain::widest_field(model_->info().network)),
      warp_(preprocess().warp_options()) {}

SceneMapper::Parts SceneMapper::parts_of(const data::ImageHeader& header) const {
  Parts parts;
  const auto rounded = [&](int64_t pixels) { return (pixels + stride_ - 1) / stride_ * stride_; };
  const int64_t crop = preprocess().crop;
  parts.tile = options_.tile;
  if (parts.tile == 0) {
    // The model's crop, or more where the network's coarsest stride asks for it.
    const int64_t least = 2 * rounded(options_.halo.value_or(customary_halo(crop))) + stride_;
    parts.tile = options_.memory ? largest_tile(header, least) : std::max(crop, least);
  }
  parts.halo = options_.halo.value_or(customary_halo(parts.tile));
  parts.rows = model::scene_spans(header.height, parts.tile, parts.halo, stride_);
  parts.columns = model::scene_spans(header.width, parts.tile, parts.halo, stride_);
  const bool several = parts.rows.size() > 1 || parts.columns.size() > 1;
  // A pixel's view may lie to one side, by half of the coarsest stride.
  const bool sees_more = sees_ == 0 || rounded(parts.halo) < (sees_ + stride_) / 2;
  parts.blended = several && sees_more && parts.halo > 0;
  return parts;
}

// By what activations of a part are planned to take, and rows of the scene.
int64_t SceneMapper::largest_tile(const data::ImageHeader& header, int64_t least) const {
  const auto result = SceneSession::Result::probabilities;
  int64_t channels = 1;  // of sums, and of weights
  for (const PixelClasses& of_task : classes_) channels += of_task.channels();
  const auto pixel = static_cast<int64_t>(size_of(preprocess().type)) * preprocess().bands;
  const auto needs = [&](int64_t tile) {
    const int64_t height = std::min(tile, header.height), width = std::min(tile, header.width);
    const int64_t line = header.width * (2 * pixel + channels * 4);  // rows are read ahead
    return session_.planned_bytes({1, height, width, preprocess().bands}, preprocess().type,
                                  result) +
           static_cast<uint64_t>(height * line + height * width * channels * 4);
  };
  // What is kept of the scene throughout: classes, and what was measured.
  uint64_t kept = static_cast<uint64_t>(header.pixels()) * (classes_.size() + 1);
  if (options_.probabilities) kept += static_cast<uint64_t>(header.pixels() * (channels - 1) * 4);
  const uint64_t left = *options_.memory > kept ? *options_.memory - kept : 0;
  const int64_t start = (least + stride_ - 1) / stride_ * stride_;
  if (needs(start) > left)
    usage_error("--memory: parts of " + std::to_string(start) + " pixels need " +
                std::to_string((needs(start) + kept + (1 << 20) - 1) >> 20) +
                " MiB of this scene; give it more, or a smaller --halo");
  const int64_t longest = std::max(header.height, header.width);
  int64_t low = start, high = (longest + stride_ - 1) / stride_ * stride_;
  if (high > low && needs(high) <= left) return high;
  while (high - low > stride_) {  // low fits, high doesn't
    const int64_t middle = (low + high) / 2 / stride_ * stride_;
    (needs(middle) <= left ? low : high) = middle;
  }
  return low;
}

// TIFFs and scenes in NetCDF are read in parts. Other files are decoded whole, once.
data::Image SceneMapper::read_rows(const std::string& path, const data::ImageHeader& header,
                                   const data::PicturePart& part) {
  const bool in_parts = data::is_called_tiff(path) || data::is_netcdf(path);
  if (in_parts || std::ssize(part.rows) == header.height)
    return data::with_channels(data::read_sample(path, bands_, limits_, part), preprocess().bands);
  if (whole_.data.empty())
    whole_ = data::with_channels(data::read_sample(path, bands_, limits_), preprocess().bands);
  return data::cut(whole_, part);
}

SceneMapper::Band SceneMapper::read_band(const std::string& path, const data::ImageHeader& header,
                                         const SceneSpan& row) {
  const data::PicturePart part = data::window(row.start, 0, row.end - row.start, header.width);
  Band band{read_rows(path, header, part), {}};
  band.measured = measured_pixels(path, band.image, part, warp_, limits_);
  return band;
}

View SceneMapper::part_of(const data::Image& band, const SceneSpan& column) {
  const int64_t width = column.end - column.start;
  const auto pixel = static_cast<size_t>(band.bands) * size_of(band.type);
  part_.resize(static_cast<size_t>(band.height * width) * pixel);
  for (int64_t y = 0; y < band.height; y++)
    std::memcpy(part_.data() + static_cast<size_t>(y * width) * pixel,
                band.data.data() + static_cast<size_t>(y * band.width + column.start) * pixel,
                static_cast<size_t>(width) * pixel);
  return view_of(part_.data(), {1, band.height, width, band.bands}, band.type);
}

SceneMap SceneMapper::map(const std::string& path,
                          const std::function<void(int64_t, int64_t)>& progress) {
  const data::ImageHeader header = data::probe_sample(path, bands_, limits_);
  if (const std::string reason = data::kind_misfit(preprocess(), header); !reason.empty())
    file_error(path + ": " + reason);
  const Parts parts = parts_of(header);
  const bool sums_up = parts.blended || options_.probabilities;
  SceneMap map{header.height, header.width, {}, {}};
  const auto pixels = static_cast<size_t>(header.pixels());
  map.tasks.assign(classes_.size(), std::vector<uint8_t>(pixels));
  for (const PixelClasses& of_task : classes_)
    if (options_.probabilities)
      map.probabilities.emplace_back(pixels * static_cast<size_t>(of_task.channels()));
  whole_ = {};
  std::optional<Sums> sums;
  if (sums_up) {
    int64_t most = 0;
    for (const SceneSpan& row : parts.rows) most = std::max(most, row.end - row.start);
    sums.emplace(context_->pool(), classes_, header.width, most);
  }
  std::vector<uint8_t> measured;
  int64_t done = 0;
  const auto read_ahead = [&](size_t r) {
    return std::async(std::launch::async,
                      [&, r] { return read_band(path, header, parts.rows[r]); });
  };
  std::future<Band> next = read_ahead(0);
  for (size_t r = 0; r < parts.rows.size(); r++) {
    const SceneSpan& row = parts.rows[r];
    const Band read = next.get();
    const data::Image& band = read.image;
    if (r + 1 < parts.rows.size()) next = read_ahead(r + 1);
    for (const SceneSpan& column : parts.columns) {
      if (progress) progress(done++, std::ssize(parts.rows) * std::ssize(parts.columns));
      const View part = part_of(band, column);
      if (sums) {
        sums->add(session_.probabilities(part), row, column,
                  weights_along(row, header.height, parts.blended),
                  weights_along(column, header.width, parts.blended));
        continue;
      }
      const std::vector<std::vector<uint8_t>> called = session_.call(part);
      const int64_t width = column.end - column.start;
      for (size_t task = 0; task < called.size(); task++)
        for (int64_t y = row.own_start; y < row.own_end; y++)
          std::copy_n(
              called[task].begin() + (y - row.start) * width + column.own_start - column.start,
              column.own_end - column.own_start,
              map.tasks[task].begin() + y * header.width + column.own_start);
    }
    if (sums) sums->settle(r + 1 < parts.rows.size() ? parts.rows[r + 1].start : row.end, map);
    measured.insert(measured.end(),
                    read.measured.begin() + (row.own_start - row.start) * header.width,
                    read.measured.begin() + (row.own_end - row.start) * header.width);
  }
  constexpr float none = std::numeric_limits<float>::quiet_NaN();
  for (size_t task = 0; task < map.tasks.size(); task++)
    for (size_t i = 0; i < pixels; i++) {
      if (measured[i]) continue;
      map.tasks[task][i] = data::unlabelled;
      const auto channels = static_cast<size_t>(classes_[task].channels());
      if (options_.probabilities)
        std::fill_n(map.probabilities[task].begin() + static_cast<std::ptrdiff_t>(i * channels),
                    channels, none);
    }
  return map;
}

}  // namespace fulmar::tools
