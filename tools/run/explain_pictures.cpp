#include "tools/run/explain_pictures.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <new>
#include <utility>

#include "data/dataset.h"
#include "data/encode_png.h"
#include "data/geotiff.h"
#include "data/pictures.h"
#include "data/thumbnail.h"
#include "engine/io/file.h"
#include "kernels/error.h"
#include "model/explain/picture.h"
#include "tools/run/heat.h"
#include "tools/run/mask_truth.h"
#include "tools/run/npy.h"
#include "tools/run/pixel_classes.h"
#include "tools/run/results.h"
#include "tools/run/stems.h"

namespace fulmar::tools {

using namespace model::explain;

namespace {

constexpr int64_t small_side = 640;  // of pictures in a report

// Of checks.
constexpr int64_t curve_steps = 32, random_orders = 5, moves = 4;
constexpr double move_radius = 0.02;  // of the input's range

// A Gaussian of this standard deviation along rows, then columns; edges repeat.
std::vector<float> blurred(std::span<const float> input, const Shape& shape, double deviation) {
  const auto reach = static_cast<int64_t>(std::ceil(3 * deviation));
  std::vector<double> kernel;
  double sum = 0;
  for (int64_t i = -reach; i <= reach; i++) {
    const double at = static_cast<double>(i) / deviation;
    kernel.push_back(std::exp(-at * at / 2));
    sum += kernel.back();
  }
  const int64_t channels = shape.channels();
  const auto along = [&](std::span<const float> from, int64_t lines, int64_t line_step,
                         int64_t count, int64_t step) {
    std::vector<float> to(from.size());
    for (int64_t line = 0; line < lines; line++)
      for (int64_t i = 0; i < count; i++)
        for (int64_t k = 0; k < channels; k++) {
          double value = 0;
          for (int64_t tap = -reach; tap <= reach; tap++) {
            const int64_t at = std::clamp<int64_t>(i + tap, 0, count - 1);
            value +=
                kernel[static_cast<size_t>(tap + reach)] *
                static_cast<double>(from[static_cast<size_t>(line * line_step + at * step + k)]);
          }
          to[static_cast<size_t>(line * line_step + i * step + k)] =
              static_cast<float>(value / sum);
        }
    return to;
  };
  const int64_t row = shape.width() * channels;
  const std::vector<float> rows = along(input, shape.height(), row, shape.width(), channels);
  return along(rows, shape.width(), channels, shape.height(), row);
}

std::vector<float> band_means(std::span<const float> input, int64_t bands) {
  std::vector<double> sums(static_cast<size_t>(bands), 0.0);
  for (size_t i = 0; i < input.size(); i++)
    sums[i % static_cast<size_t>(bands)] += static_cast<double>(input[i]);
  std::vector<float> filled(input.size());
  for (size_t i = 0; i < input.size(); i++)
    filled[i] = static_cast<float>(sums[i % static_cast<size_t>(bands)] *
                                   static_cast<double>(bands) / static_cast<double>(input.size()));
  return filled;
}

std::vector<double> softmax_of(const std::vector<double>& logits) {
  const double most = *std::max_element(logits.begin(), logits.end());
  std::vector<double> values;
  double sum = 0;
  for (const double logit : logits) sum += values.emplace_back(std::exp(logit - most));
  for (double& value : values) value /= sum;
  return values;
}

// Row and column of a map's largest value among the pixels that the network saw: around them it is
// 0, which is more than a map has that is negative throughout.
std::pair<int64_t, int64_t> largest_in(const std::vector<float>& map, int64_t width,
                                       const SeenArea& seen) {
  const int64_t top = std::llround(seen.top), left = std::llround(seen.left);
  const int64_t right = std::llround(seen.right);
  std::pair<int64_t, int64_t> place{top, left};
  const auto at = [&](int64_t row, int64_t column) {
    return map[static_cast<size_t>(row * width + column)];
  };
  for (int64_t row = top; row < std::llround(seen.bottom); row++)
    for (int64_t column = left; column < right; column++)
      if (at(row, column) > at(place.first, place.second)) place = {row, column};
  return place;
}

bool largest_inside(const std::vector<float>& map, const std::vector<uint8_t>& inside) {
  return points_inside(map, std::vector<float>(inside.begin(), inside.end()));
}

}  // namespace

struct PictureExplainer::Subject {
  const ExplainedPicture& picture;
  data::Image image, small;
  data::Georeference place;
  std::vector<float> input;
  Target target;
  Settings settings;
  std::optional<MaskTruth> truth{};
};

PictureExplainer::PictureExplainer(Context& context, Device& device, const ExplainOptions& options)
    : context_(&context),
      device_(&device),
      options_(options),
      model_(std::make_shared<model::LoadedModel>(options.model, device)),
      task_(explained_task(*model_, options.target)),
      preprocess_(model_->info().picture()),
      bands_(band_files_of(options.bands, preprocess_)),
      paths_(data::list_pictures(options.paths, bands_)),
      stems_(stems_of(paths_)) {
  for (const std::string& name : options_.methods) method(name);
  if (options_.crop) preprocess_.crop = *options_.crop;
  const Shape shape{1, preprocess_.crop, preprocess_.crop, preprocess_.bands};
  explainer_ = std::make_unique<Explainer>(
      context, device, model_->info(), model_->weights(), shape,
      ExplainerOptions{.memory = options_.memory, .fuse = options_.fuse});
  if (!options_.settings.layer.empty()) explainer_->layer(options_.settings.layer);
  prepare_pixels();
  make_folders(options_.out);
  if (options_.baseline == BaselineKind::given) {
    ExplainedPicture baseline;
    baseline.path = options_.baseline_file;
    data::Image image = data::with_channels(
        data::read_sample(baseline.path, bands_, image_limits(options_.max_pixels)),
        preprocess_.bands);
    given_baseline_ = input_of(context, device, preprocess_, image.view(),
                               centre_sample(preprocess_, image.height, image.width));
  }
}

// What is otherwise of models that give each pixel a class.
void PictureExplainer::prepare_pixels() {
  if (!task_.by_pixel()) {
    if (options_.crop || options_.field || options_.region.what != RegionChoice{}.what)
      usage_error(
          "--crop, --region and --receptive-field are about models that give each pixel a "
          "class, and " +
          options_.model + " gives a picture one");
    return;
  }
  if (task_.pixels->of_numbers && options_.probability)
    usage_error("--of probability goes with classes; the task '" + task_.output +
                "' gives pixels a number");
  regions_ = std::make_unique<RegionFinder>(options_.region, task_, model_->info(), preprocess_,
                                            bands_, image_limits(options_.max_pixels));
  if (options_.settings.layer.empty())
    options_.settings.layer = explainer_->features_of(task_.output).name;
  if (!options_.field) return;
  for (const PixelClasses& one : classes_of(model_->heads()))
    fields_.emplace_back(task_.name.empty() ? "" : one.task, one.task);
}

std::vector<EffectiveField> PictureExplainer::fields() const {
  std::vector<EffectiveField> all;
  for (const FieldMeter& meter : fields_) all.push_back(meter.measure(*explainer_, options_.out));
  return all;
}

PictureExplainer::~PictureExplainer() = default;

std::string PictureExplainer::layer() const {
  return options_.settings.layer.empty() ? explainer_->last_map().name : options_.settings.layer;
}

std::vector<float> PictureExplainer::baseline_of(std::span<const float> input) const {
  switch (options_.baseline) {
    case BaselineKind::black: {
      std::vector<float> black(input.size());
      for (size_t i = 0; i < black.size(); i++)
        black[i] =
            static_cast<float>(preprocess_.offset[i % static_cast<size_t>(preprocess_.bands)]);
      return black;
    }
    case BaselineKind::mean:
      return band_means(input, preprocess_.bands);
    case BaselineKind::blurred:
      return blurred(input, explainer_->shape(), static_cast<double>(preprocess_.crop) / 16);
    case BaselineKind::given:
      return given_baseline_;
  }
  return {};
}

ExplainedPicture PictureExplainer::explain(const std::string& path) {
  ExplainedPicture picture;
  picture.path = path;
  try {
    explain(picture);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::file) throw;  // settings that fit no picture
    picture.error = error.what();
  } catch (const std::bad_alloc&) {
    picture.error = path + ": there is not enough memory for this picture";
  }
  return picture;
}

void PictureExplainer::explain(ExplainedPicture& picture) {
  const data::ImageLimits limits = image_limits(options_.max_pixels);
  picture.header = data::probe_sample(picture.path, bands_, limits);
  for (const std::string& reason :
       {data::kind_misfit(preprocess_, picture.header),
        misfit(preprocess_, picture.header.height, picture.header.width)})
    if (!reason.empty()) file_error(picture.path + ": " + reason);
  Subject subject{picture,          {}, {}, data::read_georeference(picture.path), {}, {},
                  options_.settings};
  data::Image& image = subject.image;
  image = data::with_channels(data::read_sample(picture.path, bands_, limits), preprocess_.bands);
  picture.seen = seen_area(preprocess_, image.height, image.width);
  subject.input = input_of(*context_, *device_, preprocess_, image.view(),
                           centre_sample(preprocess_, image.height, image.width));
  choose_target(picture, subject);
  subject.small = data::thumbnail(image, small_side);
  picture.png = data::encode_png(subject.small);
  picture.small_height = subject.small.height, picture.small_width = subject.small.width;
  subject.settings.baseline = baseline_of(subject.input);
  const std::string mask = find_mask(picture.path, options_.truth);
  if (!mask.empty()) {
    subject.truth.emplace(mask, picture.header, picture.seen);
    if (subject.truth->empty()) subject.truth.reset();
  }
  if (const auto& truth = subject.truth) {
    picture.truth = ShownTruth{mask, truth->share(), truth->has_centre(), {}};
    if (options_.mask)
      picture.truth->brightness = compare_masks(
          mask_of(truth->seen(brightness_of(image), image.width), truth->height, truth->width, {}),
          truth->inside);
  }
  for (const std::string& name : options_.methods)
    picture.maps.push_back(show(method(name), subject));
  if (!options_.check) return;
  const int64_t block = std::max<int64_t>(1, preprocess_.crop / 32);
  const auto random = [&](Order order) {
    return random_curve(*explainer_, order, subject.input, subject.settings.baseline,
                        subject.target, curve_steps, random_orders, block, options_.settings.seed);
  };
  picture.random_deletion = random(Order::deletion);
  picture.random_insertion = random(Order::insertion);
}

void PictureExplainer::choose_target(ExplainedPicture& picture, Subject& subject) {
  const std::vector<float> logits = explainer_->value(task_.output, subject.input);
  const Shape& output = explainer_->layer(task_.output).shape;
  std::vector<float> mask(static_cast<size_t>(output.height() * output.width()), 1.0F);
  if (regions_) {
    const Region region = regions_->of(picture.path, subject.image, logits);
    picture.region = region.what;
    picture.pixels = region.pixels;
    picture.target = region.target;
    picture.probabilities = region.shares;
    const auto channels = static_cast<size_t>(output.channels());
    std::vector<double> means(channels, 0.0);
    for (size_t i = 0; i < logits.size(); i++)
      means[i % channels] += static_cast<double>(region.mask[i / channels] * logits[i]) /
                             static_cast<double>(region.pixels);
    for (int64_t k = 0; k < std::ssize(task_.classes); k++)
      picture.logits.push_back(means[static_cast<size_t>(task_.channel_of(k))]);
    for (FieldMeter& meter : fields_) meter.add(*explainer_, subject.input);
    mask = region.mask;
  } else {
    picture.logits.assign(logits.begin(), logits.end());
    picture.probabilities = softmax_of(picture.logits);
    picture.target =
        task_.target.value_or(std::max_element(logits.begin(), logits.end()) - logits.begin());
  }
  subject.target = region(output, task_.channel_of(picture.target), mask);
  subject.target.value = task_.output;
  if (options_.probability) subject.target.link = Target::Link::softmax;
}

MapCheck PictureExplainer::check(const Method& of, const Explanation& map,
                                 std::span<const float> input, const Target& target,
                                 const Settings& settings) {
  const Shape& shape = explainer_->shape();
  const std::vector<float> pixels = per_pixel(map, shape);
  const auto along = [&](Order order) {
    return curve(*explainer_, order, pixels, input, settings.baseline, target, curve_steps);
  };
  MapCheck check{along(Order::deletion), along(Order::insertion), 0, 0, {}};
  check.infidelity =
      infidelity(*explainer_, pixels, input, settings.baseline, target, {.seed = settings.seed});
  check.sensitivity =
      sensitivity(*explainer_, of, input, target, settings, move_radius, moves, settings.seed);
  check.randomisation =
      randomisation(*context_, *device_, model_->info(), model_->weights(), shape,
                    {.memory = options_.memory}, of, input, target, settings, settings.seed);
  return check;
}

ShownMap PictureExplainer::show(const Method& of, const Subject& subject) {
  const ExplainedPicture& picture = subject.picture;
  const data::Image& small = subject.small;
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  const Explanation map = of.one(*explainer_, subject.input, subject.target, subject.settings);
  ShownMap shown;
  shown.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  shown.method = &of;
  shown.layer = map.layer.empty() && of.of_layer ? layer() : map.layer;
  shown.score = map.score;
  shown.baseline_score = map.baseline_score;
  if (map.baseline_score) {
    shown.error = map.completeness_error();
    shown.relative_error = map.relative_error();
  }

  if (options_.check) shown.check = check(of, map, subject.input, subject.target, subject.settings);

  const int64_t height = picture.header.height, width = picture.header.width;
  const auto number =
      static_cast<size_t>(std::find(paths_.begin(), paths_.end(), picture.path) - paths_.begin());
  const std::string stem =
      (std::filesystem::path(options_.out) / (stems_[number] + "." + of.name)).string();
  const auto written = [&](const std::string& path) { shown.files.push_back(path); };
  const int64_t channels = map.shape.channels();
  std::vector<float> seen = map.values;
  if (!map.layer.empty()) {
    write_npy(stem + ".grid.npy", {map.shape.height(), map.shape.width()}, map.values);
    written(stem + ".grid.npy");
    seen = on_grid(map.values, map.shape.height(), map.shape.width(), preprocess_.crop,
                   preprocess_.crop);
  }
  data::Image whole;
  whole.height = height, whole.width = width, whole.bands = channels, whole.type = DType::f32;
  const std::vector<float> on_whole = on_picture(seen, preprocess_, height, width);
  write_npy(stem + ".npy",
            channels == 1 ? std::vector{height, width} : std::vector{height, width, channels},
            on_whole);
  written(stem + ".npy");
  if (!subject.place.empty()) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(on_whole.data());
    whole.data.assign(bytes, bytes + on_whole.size() * sizeof(float));
    data::write_geotiff(stem + ".tif", whole, subject.place);
    written(stem + ".tif");
  }

  const std::vector<float> one =
      channels == 1 ? on_whole : shrunk(on_whole, height, width, height, width);
  const auto [row, column] = largest_in(one, width, picture.seen);
  shown.largest = static_cast<double>(one[static_cast<size_t>(row * width + column)]);
  shown.peak_x = static_cast<double>(column);
  shown.peak_y = static_cast<double>(row);
  if (subject.truth)
    shown.points_inside = largest_inside(subject.truth->seen(one, width), subject.truth->inside);
  if (options_.mask) show_mask(shown, one, stem, subject);
  std::vector<float> shrunken = shrunk(on_whole, height, width, small.height, small.width);
  // The papers draw CAMs after a ReLU; files keep the sign.
  if (of.of_layer)
    for (float& value : shrunken) value = std::max(value, 0.0F);
  shown.peak = heat_peak(shrunken);
  const data::Image heat = heat_picture(shrunken, small.height, small.width, shown.peak);
  shown.heat_png = data::encode_png(heat);
  const auto w = static_cast<double>(width), h = static_cast<double>(height);
  const SeenArea shares{picture.seen.left / w, picture.seen.top / h, picture.seen.right / w,
                        picture.seen.bottom / h};
  write_file(stem + ".png", data::encode_png(overlay(small, heat, shares)));
  written(stem + ".png");
  return shown;
}

void PictureExplainer::show_mask(ShownMap& shown, const std::vector<float>& map,
                                 const std::string& stem, const Subject& subject) {
  data::Image mask;
  mask.height = subject.image.height, mask.width = subject.image.width, mask.bands = 1;
  const std::vector<float> brightness =
      options_.masks.refine ? brightness_of(subject.image) : std::vector<float>();
  mask.data = mask_of(map, mask.height, mask.width, options_.masks, brightness);
  if (subject.truth) {
    const std::vector<float> numbers(mask.data.begin(), mask.data.end());
    const std::vector<float> seen = subject.truth->seen(numbers, mask.width);
    shown.mask_scores =
        compare_masks(std::vector<uint8_t>(seen.begin(), seen.end()), subject.truth->inside);
  }
  for (uint8_t& pixel : mask.data) pixel = pixel ? 255 : 0;
  write_file(stem + ".mask.png", data::encode_png(mask));
  shown.files.push_back(stem + ".mask.png");
  if (subject.place.empty()) return;
  data::write_geotiff(stem + ".mask.tif", mask, subject.place);
  shown.files.push_back(stem + ".mask.tif");
}

}  // namespace fulmar::tools
