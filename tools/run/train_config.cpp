#include "tools/run/train_config.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <span>

#include "data/dataset.h"
#include "data/ice_bands.h"
#include "data/raster_folder.h"
#include "kernels/error.h"
#include "model/resnet.h"
#include "model/unet.h"
#include "tools/run/pixel_classes.h"

namespace fulmar::tools {
namespace {

// Calls visit(name, member) for every entry, so that writing and reading can't differ.
template <class Config, class Visit>
void each_entry(Config& c, const Visit& visit) {
  visit("dataset", c.dataset);
  visit("size", c.size);
  visit("resize", c.resize);
  visit("crop", c.crop);
  visit("channels", c.channels);
  visit("bands", c.bands);
  visit("range", c.range);
  visit("band_mean", c.band_mean);
  visit("band_deviation", c.band_deviation);
  visit("nodata", c.nodata);
  visit("pad", c.pad);
  visit("standardize", c.standardize);
  visit("scenes", c.scenes);
  visit("labels", c.labels);
  visit("pictures", c.pictures);
  visit("classes", c.classes);
  visit("ignore", c.ignore);
  visit("epoch_batches", c.epoch_batches);
  visit("labelled", c.labelled);
  visit("loss", c.loss);
  visit("focal_gamma", c.focal_gamma);
  visit("tversky", c.tversky);
  visit("units", c.units);
  visit("class_weights", c.class_weights);
  visit("task_weights", c.task_weights);
  visit("positive", c.positive);
  visit("protocol", c.protocol);
  visit("validation", c.validation);
  visit("validation_part", c.validation_part);
  visit("test", c.test);
  visit("split_seed", c.split_seed);
  visit("sampling", c.sampling);
  visit("augment", c.augment);
  visit("translate", c.translate);
  visit("rotate", c.rotate);
  visit("zoom", c.zoom);
  visit("gain", c.gain);
  visit("speckle", c.speckle);
  visit("flip", c.flip);
  visit("cutmix", c.cutmix);
  visit("init", c.init);
  visit("init_crc32c", c.init_crc32c);
  visit("network", c.network);
  visit("widths", c.widths);
  visit("encoder", c.deeplab.encoder);
  visit("stages", c.deeplab.stages);
  visit("output_stride", c.deeplab.output_stride);
  visit("rates", c.deeplab.rates);
  visit("decoder_width", c.deeplab.width);
  visit("pool", c.deeplab.pool);
  visit("shared_decoder", c.deeplab.shared_decoder);
  visit("dropout", c.dropout);
  visit("zero_gamma", c.zero_gamma);
  visit("epochs", c.epochs);
  visit("batch", c.batch);
  visit("accumulate", c.accumulate);
  visit("learning_rate", c.learning_rate);
  visit("weight_decay", c.weight_decay);
  visit("optimizer", c.optimizer);
  visit("adamw", c.adamw);
  visit("momentum", c.momentum);
  visit("schedule", c.schedule);
  visit("warmup", c.warmup);
  visit("restart_epochs", c.restart_epochs);
  visit("restart_factor", c.restart_factor);
  visit("plateau_patience", c.plateau_patience);
  visit("stop_patience", c.stop_patience);
  visit("label_smoothing", c.label_smoothing);
  visit("bn_statistics", c.bn_statistics);
  visit("precision", c.precision);
  visit("fuse", c.fuse);
  visit("seed", c.seed);
}

// get_to() would turn 1.5 and true into 1.
bool is_of_type(const Json& json, const std::string&) { return json.is_string(); }
bool is_of_type(const Json& json, bool) { return json.is_boolean(); }
bool is_of_type(const Json& json, double) { return json.is_number(); }
bool is_of_type(const Json& json, int64_t) { return json.is_number_integer(); }
bool is_of_type(const Json& json, const std::vector<int64_t>&) {
  return json.is_array() && std::all_of(json.begin(), json.end(), [](const Json& item) {
           return is_of_type(item, int64_t{});
         });
}
bool is_of_type(const Json& json, const std::vector<double>&) {
  return json.is_array() &&
         std::all_of(json.begin(), json.end(), [](const Json& item) { return item.is_number(); });
}
template <class T>
bool is_of_type(const Json& json, const std::optional<T>&) {
  return json.is_null() || is_of_type(json, T{});
}

template <class T>
Json json_of(const T& value) {
  return value;
}
template <class T>
Json json_of(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

template <class T>
void read_json(const Json& json, T& value) {
  json.get_to(value);
}
template <class T>
void read_json(const Json& json, std::optional<T>& value) {
  value.reset();
  if (!json.is_null()) value = json.get<T>();
}

void make_absolute(std::string& path) {
  namespace fs = std::filesystem;
  if (path.empty()) return;
  path = fs::absolute(path).lexically_normal().string();
  if (path.size() > 1 && path.back() == '/') path.pop_back();
  if (!data::is_utf8(path))
    file_error(path +
               ": the path is not UTF-8, as config.json is; rename it, or make a link to it");
}

int64_t pixels_of(const std::string& size) {
  if (size == "native") return 0;
  int64_t pixels = 0;
  const char* end = size.data() + size.size();
  const auto [at, reason] = std::from_chars(size.data(), end, pixels);
  if (reason != std::errc{} || at != end || pixels < 1 || pixels > 1 << 20)
    usage_error("--size takes a number of pixels up to 1048576, or native, not '" + size + "'");
  return pixels;
}

}  // namespace

namespace {

constexpr std::array of_pixels{"pictures", "classes",       "ignore",       "epoch_batches",
                               "labelled", "loss",          "focal_gamma",  "tversky",
                               "units",    "class_weights", "task_weights", "cutmix"};
constexpr std::array of_resnet{"zero_gamma"};
constexpr std::array of_deeplab{"encoder",       "stages", "output_stride", "rates",
                                "decoder_width", "pool",   "shared_decoder"};

// The first of these entries that isn't as it is where nobody gives it; "": none.
std::string first_given(const TrainConfig& c, std::span<const char* const> entries) {
  const Json given = c.to_json(), usual = TrainConfig().to_json();
  for (const char* entry : entries)
    if (given.at(entry) != usual.at(entry)) return option_of(entry);
  return "";
}

void refuse_misfits(const TrainConfig& c) {
  if (!c.by_pixel())
    if (const std::string option = first_given(c, of_pixels); !option.empty())
      usage_error(option + " goes with labels by pixel (--labels)");
  if (*c.network != "deeplab")
    if (const std::string option = first_given(c, of_deeplab); !option.empty())
      usage_error(option + " goes with --network deeplab, not with " + *c.network);
  const bool residual = model::is_resnet_name(*c.network);
  if (!residual)
    if (const std::string option = first_given(c, of_resnet); !option.empty())
      usage_error(option + " goes with --network resnet18 to resnet152, not with " + *c.network);
  const bool drops = *c.network == "deeplab" || *c.network == "polar-low";
  if (!drops && c.dropout != TrainConfig().dropout)
    usage_error("--dropout goes with deeplab and polar-low; " + *c.network + " has none");
  if (*c.network == "deeplab" && (c.widths_given || c.widths != TrainConfig().widths))
    usage_error("--widths goes with unet and polar-low; of deeplab say --decoder-width");
  if (residual && (c.widths_given || c.widths != TrainConfig().widths))
    usage_error("--widths goes with unet and polar-low; " + *c.network + " has its own");
  if (*c.network == "pixel" && (c.widths_given || c.widths != TrainConfig().widths))
    usage_error("--widths goes with unet and polar-low; pixel has no layers but the last");
}

void resolve_optimizer(TrainConfig& c) {
  if (!c.optimizer) c.optimizer = "adamw";
  if (*c.optimizer != "adamw" && c.adamw)
    usage_error("--adamw goes with --optimizer adamw, not with " + *c.optimizer);
  if (*c.optimizer != "adamw" && c.protocol == "paper")
    usage_error("--protocol paper trains with AdamW: leave out --optimizer " + *c.optimizer);
  if (*c.optimizer != "sgd" && c.momentum)
    usage_error("--momentum goes with --optimizer sgd, not with " + *c.optimizer);
  if (*c.optimizer == "adamw" && !c.adamw) c.adamw = c.protocol == "paper" ? "tfa" : "torch";
  if (*c.optimizer == "sgd" && !c.momentum) c.momentum = Sgd{}.momentum;
  if (*c.optimizer != "adam") return;
  if (c.weight_decay != 0 && c.weight_decay != TrainConfig().weight_decay)
    usage_error("--weight-decay goes with --optimizer adamw and sgd; adam decays no weights");
  c.weight_decay = 0;
}

// Scenes of which everything is known: variables and classes.
void resolve_charts(TrainConfig& c, const data::LabelFiles& files) {
  if (!c.bands || *c.bands == "none") {
    std::string all;
    for (const std::string& band : data::usual_ice_bands()) all += (all.empty() ? "" : ",") + band;
    c.bands = all;
  }
  if (c.classes) return;
  Json classes = Json::object();
  for (const data::LabelFiles::Layer& layer : files.layers())
    classes[layer.name] = data::ice_chart_classes(layer.name);
  c.classes = classes.dump();
}

// What patches with a label for each pixel want otherwise than pictures with one.
void resolve_by_pixel(TrainConfig& c) {
  const data::LabelFiles files = data::LabelFiles::parse(*c.labels);
  if (files.charts()) resolve_charts(c, files);
  ignored_numbers(c.ignore);
  if (c.size != "native")
    usage_error("--size goes with pictures that have one label each; patches keep their pixels");
  if (c.positive || c.sampling != "balanced" || c.protocol == "paper")
    usage_error("--positive, --sampling and --protocol go with pictures that have one label each");
  if (c.crop == 0) c.crop = 256;
  c.pad = true;  // a scene may be smaller than a patch
  if (!c.network) c.network = "unet";
  if (*c.network == "polar-low" || model::is_resnet_name(*c.network))
    usage_error("--network " + *c.network + " gives a picture one label; take unet or deeplab");
  if (!c.augment && !c.flip) c.flip = "hv";
  if (!c.augment) c.augment = "none";
}

}  // namespace

void TrainConfig::resolve_paths() {
  make_absolute(dataset);
  if (init) make_absolute(*init);
}

void TrainConfig::resolve() {
  if (warmup && schedule != "one-cycle")
    usage_error("--warmup goes with --schedule one-cycle, not with --schedule " + schedule);
  if (plateau_patience && schedule != "plateau")
    usage_error("--plateau-patience goes with --schedule plateau, not with --schedule " + schedule);
  if ((restart_epochs || restart_factor) && schedule != "restarts")
    usage_error(
        "--restart-epochs and --restart-factor go with --schedule restarts, not with "
        "--schedule " +
        schedule);
  resolve_paths();
  resolve_optimizer(*this);
  if (!bn_statistics) bn_statistics = protocol == "paper" ? "running" : "estimated";
  if (const std::string usual = data::usual_label_files(dataset); !labels && !usual.empty())
    labels = usual;
  if (by_pixel()) resolve_by_pixel(*this);
  if (!network) network = "polar-low";
  if (*network != "polar-low" && !model::is_resnet_name(*network) && !by_pixel())
    usage_error("--network " + *network + " goes with labels by pixel (--labels)");
  refuse_misfits(*this);
  if (*network == "unet" && !widths_given && widths == model::PolarLowOptions{}.widths)
    widths = model::UnetOptions{}.widths;
  if (!augment) augment = "published";
  if (schedule == "restarts" && !restart_epochs) restart_epochs = 10;
  if (schedule == "restarts" && !restart_factor) restart_factor = 1;
  if (schedule == "one-cycle" && !warmup) warmup = model::OneCycle{}.warmup_share;
  const int64_t side = pixels_of(size);
  if (crop == 0) crop = side;
  if (crop == 0)
    usage_error("with --size native, say with --crop what the network sees, in pixels");
  if (side > 0 && crop > side && !pad)
    usage_error("--crop " + std::to_string(crop) + " is larger than --size " + size +
                ": make it smaller, or surround the pictures with --pad");
  band_files();
  if (range && (range->size() != 2 || (*range)[0] == (*range)[1]))
    usage_error("--range takes two different numbers, the values that become 0 and 1");
  preprocess(DType::u8).warp_options();
  const data::Augment a = augmentation();
  a.check();
  translate = a.translate;
  rotate = a.rotate;
  zoom = a.zoom;
  gain = a.gain;
  speckle = a.speckle;
  flip = std::string(a.flip_horizontal ? "h" : "") + (a.flip_vertical ? "v" : "");
  if (flip->empty()) flip = "none";
}

void TrainConfig::resolve_patience(int64_t steps_per_epoch) {
  // Of a small set, 20 epochs are too few steps to learn anything in.
  const auto epochs = [&](int64_t patience, int64_t steps) {
    if (protocol == "paper") return patience;
    return std::max(patience, (steps + steps_per_epoch - 1) / steps_per_epoch);
  };
  if (schedule == "plateau" && !plateau_patience)
    plateau_patience = epochs(model::ReduceOnPlateau::Options{}.patience, plateau_patience_steps);
  // The other schedules come to rest at the last epoch.
  if (!stop_patience)
    stop_patience = schedule == "plateau"
                        ? epochs(model::EarlyStopping::Options{}.patience, stop_patience_steps)
                        : 0;
}

Json TrainConfig::to_json() const {
  Json json = Json::object();
  each_entry(*this, [&](const char* name, const auto& value) { json[name] = json_of(value); });
  return json;
}

TrainConfig TrainConfig::from_json(const Json& given) {
  Json json = given;
  json.emplace("fuse", "off");  // runs that began before there was fusion
  TrainConfig config;
  // Runs that began before there were labels by pixel.
  const Json usual = config.to_json();
  const auto as_usual = [&](const char* entry) {
    if (!json.contains(entry)) json[entry] = usual.at(entry);
  };
  as_usual("labels");
  for (const char* entry : of_pixels) as_usual(entry);
  for (const char* entry : {"restart_epochs", "restart_factor", "momentum"}) as_usual(entry);
  json.emplace("optimizer", "adamw");  // runs that began before there was another
  for (const char* entry : of_deeplab) as_usual(entry);
  for (const char* entry : of_resnet) as_usual(entry);
  json.emplace("network", "polar-low");
  each_entry(config, [&](const char* name, auto& value) {
    const auto found = json.find(name);
    if (found == json.end()) usage_error(std::string("'") + name + "' is missing");
    if (!is_of_type(*found, value)) usage_error(std::string("'") + name + "' is of the wrong type");
    read_json(*found, value);
  });
  return config;
}

Preprocess TrainConfig::preprocess(DType type) const {
  Preprocess p;
  p.type = type;
  p.crop = crop;
  p.bands = channels.value_or(3);
  p.nodata = nodata;
  p.files = band_files().words();
  const auto n = static_cast<size_t>(p.bands);
  if (band_mean && band_deviation) {
    p.fill = *band_mean;
    for (size_t band = 0; band < band_mean->size() && band < band_deviation->size(); band++) {
      const double deviation = (*band_deviation)[band];
      p.scale.push_back(1 / deviation);
      p.offset.push_back(-(*band_mean)[band] / deviation);
    }
  } else {
    const double most = type == DType::u8 ? 255 : type == DType::u16 ? 65535 : 1;
    const double low = range ? (*range)[0] : 0, high = range ? (*range)[1] : most;
    p.scale.assign(n, 1 / (high - low));
    p.offset.assign(n, low == 0 ? 0 : -low / (high - low));
    p.fill.assign(n, low);
  }
  p.size = pixels_of(size);
  p.resize = resize == "nearest" ? Interpolation::nearest : Interpolation::bilinear;
  p.pad = pad;
  p.standardize = standardize;
  return p;
}

data::BandFiles TrainConfig::band_files() const {
  return data::BandFiles::parse(bands.value_or(""));
}

data::Augment TrainConfig::augmentation() const {
  data::Augment a =
      augment.value_or("published") == "published" ? data::Augment::published() : data::Augment{};
  a.translate = translate.value_or(a.translate);
  a.rotate = rotate.value_or(a.rotate);
  a.zoom = zoom.value_or(a.zoom);
  a.gain = gain.value_or(a.gain);
  a.speckle = speckle.value_or(a.speckle);
  if (flip) {
    a.flip_horizontal = *flip == "h" || *flip == "hv";
    a.flip_vertical = *flip == "v" || *flip == "hv";
  }
  return a;
}

std::string option_of(const std::string& entry) {
  std::string option = entry == "dataset"         ? "DIR"
                       : entry == "learning_rate" ? "--lr"
                                                  : "--" + entry;
  std::replace(option.begin(), option.end(), '_', '-');
  return option;
}

Optimizer TrainConfig::optimizer_options() const {
  if (optimizer == "sgd") return Sgd{momentum.value_or(Sgd{}.momentum), weight_decay, false};
  AdamW how;
  how.weight_decay = weight_decay;
  how.decay_scaled_by_lr = adamw != "tfa";
  const bool torch = adamw.value_or("torch") == "torch";  // adam too
  how.keras_epsilon = !torch;
  how.epsilon = torch ? 1e-8 : 1e-7;
  return how;
}

model::Schedule TrainConfig::schedule_options(int64_t steps, int64_t steps_per_epoch) const {
  if (schedule == "one-cycle") {
    model::OneCycle cycle;
    cycle.max_rate = learning_rate;
    cycle.steps = steps;
    cycle.warmup_share = warmup.value_or(cycle.warmup_share);
    return cycle;
  }
  if (schedule == "cosine") {
    model::WarmupCosine cosine;
    cosine.max_rate = learning_rate;
    cosine.steps = steps;
    cosine.warmup_steps = std::min(steps_per_epoch, steps);
    return cosine;
  }
  if (schedule == "restarts") {
    model::CosineRestarts restarts;
    restarts.max_rate = learning_rate;
    restarts.period = restart_epochs.value_or(10) * steps_per_epoch;
    restarts.factor = restart_factor.value_or(1);
    return restarts;
  }
  model::PlateauSchedule plateau;
  plateau.rate = learning_rate;
  plateau.options.patience = plateau_patience.value_or(plateau.options.patience);
  return plateau;
}

}  // namespace fulmar::tools
