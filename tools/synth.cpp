#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "data/encode_png.h"
#include "data/geotiff.h"
#include "data/scenes/scene.h"
#include "engine/io/file.h"
#include "kernels/error.h"
#include "kernels/random.h"
#include "kernels/version.h"
#include "tools/cli.h"
#include "tools/console.h"
#include "tools/output.h"
#include "tools/progress.h"
#include "tools/run/results.h"
#include "tools/run/text.h"
#include "tools/synth_folder.h"
#include "tools/synth_ice.h"

namespace fulmar::tools {
namespace {

namespace fs = std::filesystem;
using data::scenes::SceneParameters;

struct Options {
  std::string kind = "polar-low";
  std::string folder;
  std::optional<int64_t> train_given, test_given, size_given;
  int64_t train = 1000, test = 200;
  double positives = 0.5;
  data::scenes::SceneOptions scene{768, 1000};
  int64_t resolution = 1000;
  std::string format;
  bool band_files = false, twins = false, no_masks = false;
};

constexpr std::array<const char*, 2> classes{"neg", "pos"};

// One scene to be made.
struct Order {
  std::string part;    // train, test or twins
  int64_t number = 0;  // within train and test together
  bool vortex = false;
  uint64_t seed = 0;
  std::string id;  // "5d0e21_00017": a scene of its own by the rule of names, twins share it

  std::string place() const { return part + "/" + classes[vortex] + "/" + id; }
};

std::string digits(uint64_t value, int count, int base) {
  std::string text(static_cast<size_t>(count), '0');
  for (int i = count; i-- > 0; value /= static_cast<uint64_t>(base))
    text[static_cast<size_t>(i)] = "0123456789abcdef"[value % static_cast<uint64_t>(base)];
  return text;
}

std::vector<Order> orders(const Options& options, uint64_t seed) {
  std::vector<Order> list;
  for (int64_t number = 0; number < options.train + options.test; number++) {
    Order order;
    order.part = number < options.train ? "train" : "test";
    order.number = number;
    // Positives lie evenly among the scenes of a part.
    const int64_t i = number < options.train ? number : number - options.train;
    const auto count = [&](int64_t n) {
      return static_cast<int64_t>(std::floor(options.positives * static_cast<double>(n) + 0.5));
    };
    order.vortex = count(i + 1) > count(i);
    order.seed = scene_seed(seed, number);
    // Six digits that no two of 2^24 scenes share: an odd factor only swaps numbers.
    const uint64_t mixed =
        (static_cast<uint64_t>(number) * 0x9E3779B1u + seed * 0x85EBCAu) & 0xffffff;
    order.id = digits(mixed, 6, 16) + "_" + digits(static_cast<uint64_t>(number), 5, 10);
    list.push_back(order);
    if (options.twins && order.part == "test" && order.vortex) {
      order.part = "twins";
      order.vortex = false;
      list.push_back(order);
    }
  }
  return list;
}

Json json_of(const Options& options, uint64_t seed) {
  return {{"train", options.train},
          {"test", options.test},
          {"positives", options.positives},
          {"size", options.scene.size},
          {"resolution_m", options.resolution},
          {"swath_edge", options.scene.swath_edge},
          {"land", options.scene.land},
          {"ice", options.scene.ice},
          {"format", options.format},
          {"band_files", options.band_files},
          {"twins", options.twins},
          {"masks", !options.no_masks},
          {"seed", seed},
          {"version", version()}};
}

void make_folders(const std::string& folder, const std::vector<Order>& list, bool masks) {
  std::error_code error;
  for (const Order& order : list) {
    const std::string within = order.part + "/" + classes[order.vortex];
    for (const std::string& place : {within, "parameters/" + within, "masks/" + within}) {
      if (place.starts_with("masks") && !masks) continue;
      fs::create_directories(folder + "/" + place, error);
      if (error) file_error(folder + "/" + place + ": can't be made: " + error.message());
    }
  }
}

class Maker {
 public:
  explicit Maker(const Options& options) : options_(options) {}

  // Everything of one scene, unless all of it is there.
  SceneParameters make(const Order& order) const {
    SceneParameters parameters =
        data::scenes::draw_scene(order.seed, options_.scene, order.vortex ? 1 : 0);
    const std::vector<std::string> pictures = picture_paths(order);
    const std::string mask = options_.folder + "/masks/" + order.place() + ".png";
    const std::string record = options_.folder + "/parameters/" + order.place() + ".json";
    if (std::all_of(pictures.begin(), pictures.end(), is_there) &&
        (options_.no_masks || is_there(mask)) && is_there(record))
      return parameters;
    const data::scenes::Scene scene = data::scenes::render(parameters);
    const auto write_raster = [&](const std::string& path, const data::Image& image) {
      data::write_geotiff(path, image, data::scenes::georeference_of(parameters),
                          data::scenes::no_data);
    };
    if (options_.format == "png") {
      write_file(pictures[0], data::encode_png(data::scenes::composite(scene)));
    } else if (options_.band_files) {
      write_raster(pictures[0], data::scenes::band_db(scene.vv, scene.size));
      write_raster(pictures[1], data::scenes::band_db(scene.vh, scene.size));
    } else {
      write_raster(pictures[0], data::scenes::bands_db(scene));
    }
    if (!options_.no_masks) write_file(mask, data::encode_png(data::scenes::vortex_mask(scene)));
    write_file(record, parameters.to_json());
    return parameters;
  }

 private:
  static bool is_there(const std::string& path) {
    std::error_code error;
    return fs::exists(path, error);
  }

  std::vector<std::string> picture_paths(const Order& order) const {
    const std::string path = options_.folder + "/" + order.place();
    if (options_.format == "png") return {path + ".png"};
    if (options_.band_files) return {path + "_VV.tif", path + "_VH.tif"};
    return {path + ".tif"};
  }

  const Options& options_;
};

std::string index_row(const Order& order, const SceneParameters& parameters) {
  const auto pixel = [&](double km) {
    return number_text(std::round(parameters.pixel(km) * 10) / 10);
  };
  const auto rounded = [](double value) { return number_text(std::round(value * 1e4) / 1e4); };
  const data::scenes::Vortex& vortex = parameters.vortex;
  return csv_row({order.part, classes[order.vortex], order.id, std::to_string(order.seed),
                  rounded(vortex.amplitude), pixel(vortex.x), pixel(vortex.y),
                  rounded(vortex.radius / parameters.resolution * 1000), rounded(vortex.visible),
                  rounded(parameters.land_share), rounded(parameters.ice_share),
                  rounded(parameters.wind_speed)});
}

void refuse_others_of_ice(const CLI::App& command) {
  for (const char* option : {"--positives", "--resolution", "--swath-edge", "--land", "--ice",
                             "--band-files", "--twins", "--no-masks"})
    if (command.count(option) > 0)
      usage_error(std::string(option) + " goes with --kind polar-low, not with sea-ice");
}

int run(Options options, const SharedOptions& shared) {
  if (options.folder.empty()) usage_error("OUT: an empty path is none");
  if (options.kind == "sea-ice") {
    SynthIceOptions ice;
    ice.folder = options.folder;
    ice.train = options.train_given.value_or(ice.train);
    ice.test = options.test_given.value_or(ice.test);
    ice.size = options.size_given.value_or(ice.size);
    if (options.format == "png") usage_error("--format of sea-ice scenes is netcdf or geotiff");
    ice.geotiff = options.format == "geotiff";
    if (ice.train + ice.test == 0) usage_error("no scenes to make: raise --train or --test");
    return synth_ice(ice, shared);
  }
  if (options.format.empty()) options.format = "png";
  if (options.format == "netcdf") usage_error("--format netcdf goes with --kind sea-ice");
  options.train = options.train_given.value_or(options.train);
  options.test = options.test_given.value_or(options.test);
  options.scene.size = options.size_given.value_or(options.scene.size);
  options.scene.resolution = static_cast<double>(options.resolution);
  if (options.band_files && options.format != "geotiff")
    usage_error("--band-files goes with --format geotiff");
  if (options.train + options.test == 0) usage_error("no scenes to make: raise --train or --test");
  data::scenes::draw_scene(0, options.scene, 1);  // options that can't be are said here
  const std::vector<Order> list = orders(options, shared.seed);
  const Json record = json_of(options, shared.seed);
  CommandContext command(shared);
  prepare_folder(options.folder, record);
  make_folders(options.folder, list, !options.no_masks);

  const Maker maker(options);
  std::vector<std::string> rows(list.size());
  Progress progress(static_cast<int64_t>(list.size()), "scenes");
  std::mutex mutex;
  int64_t done = 0;
  ThreadPool pool(
      threads_within(80.0 * static_cast<double>(options.scene.size * options.scene.size),
                     options.scene.size, command.context().pool().threads()));
  pool.run(static_cast<int64_t>(list.size()), [&](int64_t i, int) {
    stop_if_interrupted();
    const Order& order = list[static_cast<size_t>(i)];
    rows[static_cast<size_t>(i)] = index_row(order, maker.make(order));
    const std::scoped_lock lock(mutex);
    progress.update(++done);
  });

  std::string index = csv_row({"part", "class", "scene", "seed", "amplitude", "eye_column",
                               "eye_row", "radius_pixels", "visible", "land", "ice", "wind_speed"});
  for (const std::string& row : rows) index += row;
  write_file(options.folder + "/index.csv", index);
  if (shared.json)
    print_pretty(record);
  else
    print(std::to_string(list.size()) + " scenes in " + options.folder + "\n");
  return exit_ok;
}

}  // namespace

void add_synth(Cli& cli) {
  auto options = std::make_shared<Options>();
  const auto made = std::make_shared<const CLI::App*>();  // there when the options are known
  CLI::App& command = add_command(
      cli, "synth", "Make scenes like Sentinel-1's: with and without a polar low, or of sea ice",
      [options, made, &cli] {
        if (options->kind == "sea-ice") refuse_others_of_ice(**made);
        return run(*options, cli.shared);
      });
  *made = &command;
  command
      .add_option("OUT", options->folder,
                  "New folder: train/ and test/ with neg/ and pos/, parameters/ and masks/ with a\n"
                  "file for each scene, index.csv")
      ->required();
  add_choice(
      command, "--kind", options->kind, {"polar-low", "sea-ice"},
      "polar-low; or sea-ice: ready-to-train scenes of the AI4Arctic challenge's form in\n"
      "NetCDF-4, of which --train, --test, --size and --format alone decide (default polar-low)");
  add_integer(command, "--train", options->train_given, 0, 1'000'000,
              "Scenes to train on (default 1000; of sea ice 40)");
  add_integer(command, "--test", options->test_given, 0, 1'000'000,
              "Scenes to test on (default 200; of sea ice 10)");
  add_number(command, "--positives", options->positives, 0, 1,
             "Share of them with a vortex (default 0.5; the published set has 0.16)");
  add_integer(command, "--size", options->size_given, 32, 6000,
              "Pixels of a side (default 768; of sea ice 512, of 80 m each); 50 to 3000 km with\n"
              "--resolution");
  add_choice(command, "--resolution", options->resolution, {500, 1000, 2000},
             "Metres of a pixel (default 1000)");
  add_number(command, "--swath-edge", options->scene.swath_edge, 0, 0.4,
             "Mean share of a scene outside the swath, black (default 0.2)");
  add_number(command, "--land", options->scene.land, 0, 0.4, "Mean share of land (default 0.15)");
  add_number(command, "--ice", options->scene.ice, 0, 0.4,
             "Mean share of the sea that is ice (default 0.1)");
  add_choice(
      command, "--format", options->format, {"png", "geotiff", "netcdf"},
      "png: colours of 8 bits; geotiff: VV and VH in dB, float32, georeferenced, with nodata\n"
      "and NaN outside the swath; of sea ice geotiff: SCENE.tif of all 24 bands and a label\n"
      "raster for each chart, SCENE_SIC.tif; or netcdf (default png; of sea ice netcdf)");
  command.add_flag("--band-files", options->band_files,
                   "With --format geotiff: SCENE_VV.tif and SCENE_VH.tif instead of one file");
  command.add_flag(
      "--twins", options->twins,
      "Also twins/neg/: each positive test scene with the vortex taken out, for fulmar predict");
  command.add_flag("--no-masks", options->no_masks, "Leave out the masks of the vortices");
}

}  // namespace fulmar::tools
