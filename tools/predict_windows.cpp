#include "tools/predict_windows.h"

#include <cmath>
#include <cstring>
#include <filesystem>
#include <optional>

#include "data/dataset.h"
#include "data/geotiff.h"
#include "data/projection.h"
#include "engine/io/file.h"
#include "kernels/error.h"
#include "tools/console.h"
#include "tools/output.h"
#include "tools/progress.h"
#include "tools/run/results.h"
#include "tools/run/stems.h"
#include "tools/run/text.h"
#include "tools/run/window_map.h"

namespace fulmar::tools {
namespace {

class WindowPredictor {
 public:
  WindowPredictor(const PredictWindowsOptions& options, const SharedOptions& shared)
      : options_(options),
        shared_(shared),
        command_(shared),
        classifier_(command_.context(), options.pictures.model, command_.device()),
        bands_(band_files_of(options.pictures.bands, classifier_.preprocess())),
        threshold_(threshold_of(classifier_.task(), options.threshold)) {
    if (!classifier_.task().two_classes() && !options.csv.empty())
      usage_error("--csv of what is detected goes with models of two classes");
    for (const std::string& text : classifier_.notes()) say(text);
  }

  int run() {
    const std::vector<std::string> paths = data::list_pictures(options_.pictures.paths, bands_);
    const std::vector<std::string> stems = stems_of(paths, bands_);
    if (!options_.out.empty()) make_folders(options_.out);
    if (!options_.csv.empty()) {
      csv_.emplace(options_.csv);
      write_csv(
          {"path", "class", "probability", "column", "row", "x", "y", "longitude", "latitude"});
    }
    int64_t failed = 0;
    for (size_t i = 0; i < paths.size(); i++) {
      try {
        predict(paths[i], stems[i]);
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::file) throw;
        failed++;
        if (shared_.json)
          print_line({{"path", paths[i]}, {"error", error.what()}});
        else
          say(error.what());
      }
      flush_output();
    }
    if (csv_) csv_->commit();
    return failed > 0 ? exit_file : exit_ok;
  }

 private:
  void predict(const std::string& path, const std::string& stem) {
    const model::Classification& task = classifier_.task();
    std::optional<Progress> progress;
    const int64_t batch = options_.pictures.batch > 0 ? options_.pictures.batch
                                                      : customary_batch(classifier_.preprocess());
    const WindowMap map =
        map_windows(classifier_, path, bands_, options_.stride, batch,
                    image_limits(options_.pictures.max_pixels), [&](int64_t done, int64_t of) {
                      stop_if_interrupted();
                      if (!progress) progress.emplace(of, "rows of windows");
                      progress->update(done);
                    });
    progress.reset();
    const data::Georeference place = data::read_georeference(path);
    Json json{{"path", path},
              {"windows", map.rows * map.columns},
              {"side", map.side},
              {"stride", map.stride}};
    if (!options_.out.empty()) {
      const std::string file = options_.out + "/" + stem + ".probabilities.tif";
      write_map(file, map, place);
      json["file"] = file;
    }
    if (task.two_classes()) {
      json["detections"] = Json::array();
      for (const Detection& one : detections(map, task.positive_class, threshold_))
        json["detections"].push_back(add(one, path, place));
    }
    if (shared_.json)
      print_line(json);
    else
      print_scene(path, json);
  }

  static void write_map(const std::string& file, const WindowMap& map,
                        const data::Georeference& place) {
    data::Image image;
    static_cast<data::ImageHeader&>(image) = {map.rows, map.columns, map.classes, DType::f32};
    const auto* bytes = reinterpret_cast<const uint8_t*>(map.probabilities.data());
    image.data.assign(bytes, bytes + image.bytes());
    data::write_geotiff(file, image, map.placed(place), NAN);
  }

  // Tells it, in the table too.
  Json add(const Detection& one, const std::string& path, const data::Georeference& place) {
    const model::Classification& task = classifier_.task();
    const std::string& name = task.classes[static_cast<size_t>(task.positive_class)];
    Json json{{"class", name},
              {"probability", shortest(static_cast<double>(one.probability))},
              {"column", one.column},
              {"row", one.row}};
    if (const data::Placement placed(place); placed) {
      const auto [x, y] = placed.at(one.column, one.row);
      json["x"] = x;
      json["y"] = y;
      if (const auto ground = data::longitude_latitude(place, x, y)) {
        json["longitude"] = (*ground)[0];
        json["latitude"] = (*ground)[1];
      }
    }
    if (csv_) {
      std::vector<std::string> cells{path, name};
      for (const char* key : {"probability", "column", "row", "x", "y", "longitude", "latitude"})
        cells.push_back(json.contains(key) ? json.at(key).dump() : "");
      write_csv(cells);
    }
    return json;
  }

  void write_csv(const std::vector<std::string>& cells) {
    const std::string row = csv_row(cells);
    csv_->write(row.data(), row.size());
  }

  static void print_scene(const std::string& path, const Json& json) {
    print(path + ": " + counted(json.at("windows").get<int64_t>(), "window", "windows") +
          (json.contains("file") ? ", " + json.at("file").get<std::string>() : "") + "\n");
    if (!json.contains("detections")) return;
    for (const Json& one : json.at("detections")) {
      print("  " + one.at("class").get<std::string>() + " " +
            fixed(one.at("probability").get<double>(), 4) + " at column " +
            fixed(one.at("column").get<double>(), 0) + ", row " +
            fixed(one.at("row").get<double>(), 0));
      if (one.contains("longitude"))
        print("; longitude " + fixed(one.at("longitude").get<double>(), 4) + ", latitude " +
              fixed(one.at("latitude").get<double>(), 4));
      print("\n");
    }
  }

  const PredictWindowsOptions& options_;
  const SharedOptions& shared_;
  CommandContext command_;
  model::Classifier classifier_;
  data::BandFiles bands_;
  double threshold_;
  std::optional<AtomicFile> csv_;
};

}  // namespace

int predict_windows(const PredictWindowsOptions& options, const SharedOptions& shared) {
  return WindowPredictor(options, shared).run();
}

}  // namespace fulmar::tools
