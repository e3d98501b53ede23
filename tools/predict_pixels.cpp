#include "tools/predict_pixels.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>

#include "data/dataset.h"
#include "data/encode_png.h"
#include "data/geotiff.h"
#include "data/thumbnail.h"
#include "engine/io/file.h"
#include "kernels/error.h"
#include "tools/console.h"
#include "tools/output.h"
#include "tools/progress.h"
#include "tools/run/class_colours.h"
#include "tools/run/ground_area.h"
#include "tools/run/pixel_classes.h"
#include "tools/run/results.h"
#include "tools/run/scene_map.h"
#include "tools/run/stems.h"
#include "tools/run/text.h"
#include "tools/signals.h"

namespace fulmar::tools {
namespace {

// Of pixels where no band was measured; the classes' numbers are others, or it is not written.
constexpr double nothing = 255;

constexpr int64_t small_side = 1024;    // of pictures to look at
constexpr const char* beside = "maps";  // STEM.maps.png: all of them

SceneMapOptions map_options(const PredictPixelsOptions& options) {
  SceneMapOptions how;
  how.tile = options.tile;
  how.halo = options.halo;
  how.memory = options.memory;
  how.probabilities = options.probabilities;
  how.max_pixels = options.max_pixels;
  return how;
}

class ScenePredictor {
 public:
  ScenePredictor(const PredictPixelsOptions& options, const SharedOptions& shared)
      : options_(options),
        shared_(shared),
        command_(shared),
        model_(std::make_shared<const model::LoadedModel>(options.model, command_.device())),
        bands_(band_files_of(options.bands, model_->info().picture())),
        mapper_(model_, command_.context(), command_.device(), bands_, map_options(options)),
        classes_(mapper_.classes()) {
    for (const std::string& note : model_->notes()) say(note);
  }

  int run() {
    for (const PixelClasses& of_task : classes_)
      if (of_task.task == beside)
        usage_error(options_.model + ": a task called '" + beside +
                    "' would have the name of the picture of all maps; train it under another one");
    const std::vector<std::string> paths = data::list_pictures(options_.paths, bands_);
    const std::vector<std::string> stems = stems_of(paths, bands_);
    make_folders(options_.out);
    if (!options_.csv.empty()) {
      csv_.emplace(options_.csv);
      write_csv({"path", "task", "class", "pixels", "share", "km2"});
    }
    int64_t failed = 0;
    for (size_t i = 0; i < paths.size(); i++) {
      const std::string& path = paths[i];
      try {
        predict(path, stems[i]);
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::file) throw;
        failed++;
        if (shared_.json)
          print_line({{"path", path}, {"error", error.what()}});
        else
          say(error.what());
      }
      flush_output();
    }
    if (csv_) csv_->commit();
    if (failed > 0)
      say(std::to_string(failed) + " of " + std::to_string(paths.size()) +
          " pictures could not be used");
    return failed > 0 ? exit_file : exit_ok;
  }

 private:
  void predict(const std::string& path, const std::string& stem) {
    std::optional<Progress> progress;
    const SceneMap map = mapper_.map(path, [&](int64_t done, int64_t parts) {
      stop_if_interrupted();
      if (!progress) progress.emplace(parts, "tiles");
      progress->update(done);
    });
    progress.reset();
    const data::Georeference place = data::read_georeference(path);
    Json tasks = Json::object();
    const auto base_of = [&](size_t task) {
      return options_.out + "/" + stem + "." + classes_[task].task;
    };
    command_.context().pool().run(1 + 2 * std::ssize(classes_), [&](int64_t file, int) {
      if (file == 0)
        return write_beside(options_.out + "/" + stem + "." + beside + ".png", path, map);
      const auto task = static_cast<size_t>((file - 1) / 2);
      if (file % 2 == 0) return write_classes(base_of(task) + ".tif", map, task, place);
      write_picture(base_of(task) + ".png", map, task);
    });
    for (size_t task = 0; task < classes_.size(); task++) {
      const std::string base = base_of(task);
      Json& json = tasks[classes_[task].task];
      json = {{"file", base + ".tif"}, {"share", Json::object()}};
      if (options_.probabilities) {
        const std::string what = classes_[task].of_numbers ? "values" : "probabilities";
        json[what] = base + "." + what + ".tif";
        write_probabilities(json[what].get<std::string>(), map, task, place);
      }
      count_areas(path, map, task, place, json);
    }
    if (shared_.json)
      print_line({{"path", path}, {"tasks", tasks}});
    else
      print_shares(path, tasks);
  }

  void write_picture(const std::string& path, const SceneMap& map, size_t task) const {
    data::Image image;
    image.height = map.height, image.width = map.width, image.bands = 1;
    image.data = map.tasks[task];
    write_file(path, data::encode_png(image, colours_of(classes_[task])));
  }

  void write_classes(const std::string& path, const SceneMap& map, size_t task,
                     const data::Georeference& place) const {
    const std::vector<int64_t>& numbers = classes_[task].numbers;
    const int64_t least = *std::min_element(numbers.begin(), numbers.end());
    const int64_t most = *std::max_element(numbers.begin(), numbers.end());
    const bool bytes = least >= 0 && most < 255;
    data::Image image;
    static_cast<data::ImageHeader&>(image) = {map.height, map.width, 1,
                                              bytes ? DType::u8 : DType::f32};
    image.data.resize(static_cast<size_t>(image.bytes()));
    auto* floats = reinterpret_cast<float*>(image.data.data());
    for (size_t i = 0; i < map.tasks[task].size(); i++) {
      const uint8_t k = map.tasks[task][i];
      if (bytes)
        image.data[i] = k == data::unlabelled ? k : static_cast<uint8_t>(numbers[k]);
      else
        floats[i] = k == data::unlabelled ? NAN : static_cast<float>(numbers[k]);
    }
    data::ColourTable colours;
    if (bytes && has_known_colours(classes_[task])) {
      colours.resize(256);
      for (size_t k = 0; k < numbers.size(); k++)
        colours[static_cast<size_t>(numbers[k])] = class_colour(classes_[task], k);
    }
    data::write_geotiff(path, image, place, bytes ? nothing : NAN, colours);
  }

  // A band for each class.
  void write_probabilities(const std::string& path, const SceneMap& map, size_t task,
                           const data::Georeference& place) const {
    data::Image image;
    static_cast<data::ImageHeader&>(image) = {map.height, map.width, classes_[task].channels(),
                                              DType::f32};
    const auto* bytes = reinterpret_cast<const uint8_t*>(map.probabilities[task].data());
    image.data.assign(bytes, bytes + image.bytes());
    data::write_geotiff(path, image, place, NAN);
  }

  // The scene in grey or colours, and each task's map, beside each other.
  void write_beside(const std::string& file, const std::string& path, const SceneMap& map) const {
    const data::PicturePart part = picked_part(map.height, map.width, small_side);
    std::vector<data::Image> pictures{data::thumbnail(
        data::read_sample(path, bands_.shown(), image_limits(options_.max_pixels), part),
        small_side)};
    for (size_t task = 0; task < classes_.size(); task++) {
      const data::Image small = picked(map.tasks[task], map.width, small_side);
      pictures.push_back(coloured(small.data, small.width, classes_[task]));
    }
    write_file(file, data::encode_png(side_by_side(pictures)));
  }

  // Of each class: pixels, their share of those that were called, and the area on the ground.
  void count_areas(const std::string& path, const SceneMap& map, size_t task,
                   const data::Georeference& place, Json& json) {
    const std::vector<std::string>& names = classes_[task].names;
    const std::vector<int64_t> counts = map.counts(task, names.size());
    int64_t all = 0;
    for (const int64_t count : counts) all += count;
    const std::optional<std::vector<double>> areas = class_areas(map, task, names.size(), place);
    for (size_t k = 0; k < names.size(); k++) {
      const double share =
          all > 0 ? static_cast<double>(counts[k]) / static_cast<double>(all) : NAN;
      json["share"][names[k]] = number_json(share);
      std::string area;
      if (areas) {
        json["km2"][names[k]] = (*areas)[k];
        area = Json((*areas)[k]).dump();
      }
      if (csv_)
        write_csv({path, classes_[task].task, names[k], std::to_string(counts[k]),
                   std::isfinite(share) ? Json(share).dump() : "", area});
    }
  }

  void write_csv(const std::vector<std::string>& cells) {
    const std::string row = csv_row(cells);
    csv_->write(row.data(), row.size());
  }

  static void print_shares(const std::string& path, const Json& tasks) {
    for (const auto& [task, json] : tasks.items()) {
      std::string text;
      for (const auto& [name, share] : json.at("share").items())
        text += (text.empty() ? "" : ", ") + name + " " +
                (share.is_null() ? "-" : fixed(100 * share.get<double>(), 1) + " %");
      print(task + "\t" + text + "\t" + path + "\t" + json.at("file").get<std::string>() + "\n");
    }
  }

  const PredictPixelsOptions& options_;
  const SharedOptions& shared_;
  CommandContext command_;
  std::shared_ptr<const model::LoadedModel> model_;
  data::BandFiles bands_;
  SceneMapper mapper_;
  std::vector<PixelClasses> classes_;
  std::optional<AtomicFile> csv_;
};

}  // namespace

bool calls_pixels(const std::string& model) {
  const ModelFile file(model);
  return is_by_pixel(model::heads_of(file.info()));
}

int predict_pixels(const PredictPixelsOptions& options, const SharedOptions& shared) {
  if (options.out.empty())
    usage_error("this model gives each pixel a class: say with --out where the maps go");
  return ScenePredictor(options, shared).run();
}

}  // namespace fulmar::tools
