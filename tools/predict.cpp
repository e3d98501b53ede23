#include <algorithm>
#include <array>
#include <memory>
#include <optional>

#include "data/geotiff.h"
#include "data/projection.h"
#include "engine/io/file.h"
#include "model/metrics.h"
#include "tools/cli.h"
#include "tools/console.h"
#include "tools/output.h"
#include "tools/picture_options.h"
#include "tools/predict_pixels.h"
#include "tools/predict_windows.h"
#include "tools/progress.h"
#include "tools/run/picture_notes.h"
#include "tools/run/predictor.h"
#include "tools/run/results.h"
#include "tools/run/text.h"

namespace fulmar::tools {
namespace {

struct Options {
  PredictorOptions pictures;
  std::string csv;
  double threshold = -1;  // -1: the model's
  PredictPixelsOptions pixels;
  std::optional<int64_t> stride;  // of windows
};

// Where a picture lies, and what the network saw of it.
struct Whereabouts {
  using Box = std::array<double, 4>;  // west, south, east, north, in the system's units
  std::optional<Box> bounds, seen_bounds;
  std::optional<std::array<double, 2>> centre;  // of what was seen: longitude and latitude
  std::optional<double> residual;               // of control points, metres

  Whereabouts(const data::Georeference& place, const data::ImageHeader& header,
              const SeenArea& seen) {
    const data::Placement placed(place);
    if (!placed) return;
    bounds =
        placed.bounds(0, 0, static_cast<double>(header.width), static_cast<double>(header.height));
    seen_bounds = placed.bounds(seen.left, seen.top, seen.right, seen.bottom);
    const auto [x, y] = placed.at((seen.left + seen.right) / 2, (seen.top + seen.bottom) / 2);
    centre = data::longitude_latitude(place, x, y);
    if (!place.points.empty() && !place.transform) residual = placed.residual();
  }
};

Json json_of(const data::Georeference& place, const Whereabouts& where) {
  Json json = Json::object();
  json["epsg"] = place.epsg > 0 ? Json(place.epsg) : Json(nullptr);
  if (place.transform) json["transform"] = *place.transform;
  if (where.bounds) json["bounds"] = *where.bounds;
  if (where.seen_bounds) json["seen_bounds"] = *where.seen_bounds;
  if (where.centre) {
    json["longitude"] = (*where.centre)[0];
    json["latitude"] = (*where.centre)[1];
  }
  if (where.residual) json["points_residual_m"] = *where.residual;
  for (const data::GroundPoint& p : place.points)
    json["points"].push_back({p.column, p.row, p.x, p.y, p.z});
  return json;
}

// Prints what the model says of each picture, and writes the table.
class Printer {
 public:
  Printer(const Options& options, const SharedOptions& shared)
      : options_(options),
        shared_(shared),
        command_(shared),
        predictor_(command_.context(), command_.device(), options.pictures) {
    for (const std::string& note : predictor_.classifier().notes()) say(note);
    threshold_ = threshold_of(predictor_.classifier().task(), options.threshold);
  }

  int run() {
    const auto pictures = predictor_.pictures();
    if (!options_.csv.empty()) {
      csv_.emplace(options_.csv);
      places_ = std::any_of(pictures.begin(), pictures.end(), [](const PredictedPicture& picture) {
        return data::is_called_tiff(picture.path);
      });
      write_csv_header();
    }
    Progress progress(std::ssize(pictures), "images");
    while (predictor_.done() < pictures.size()) {
      for (const PredictedPicture& picture : predictor_.next()) report(picture);
      flush_output();
      progress.update(static_cast<int64_t>(predictor_.done()));
    }
    if (csv_) csv_->commit();
    for (const std::string& text : notes_.lines()) note(text);
    if (unplaced_.pictures > 0)
      note("no longitude and latitude for " + with_separators(unplaced_.pictures) +
           " of the pictures, such as " + unplaced_.first + ": their reference system (" +
           unplaced_.system + ") is none of those that are known here");
    if (predictor_.dropped_alpha()) note(alpha_note);
    if (failed_ > 0)
      say(std::to_string(failed_) + " of " + std::to_string(pictures.size()) +
          " pictures could not be used");
    return failed_ > 0 ? exit_file : exit_ok;
  }

 private:
  void report(const PredictedPicture& picture) {
    const model::Classification& task = predictor_.classifier().task();
    if (!picture.error.empty()) {
      failed_++;
      if (shared_.json)
        print_line({{"path", picture.path}, {"error", picture.error}});
      else
        say(picture.error);
      if (csv_) write_csv_row(picture, "", nullptr);
      return;
    }
    const auto decided =
        static_cast<size_t>(model::decide(picture.probabilities, task.positive_class, threshold_));
    const std::string& name = task.classes[decided];
    notes_.add(picture.path, picture.header, &predictor_.classifier().preprocess());
    const SeenArea& seen = picture.seen;
    const Whereabouts where(picture.place, picture.header, seen);
    if (where.bounds && !where.centre) count_unplaced(picture);
    if (csv_) write_csv_row(picture, name, &where);
    if (shared_.json) {
      Json line{{"path", picture.path}, {"class", name}};
      line["probabilities"] = Json::object();
      for (size_t k = 0; k < task.classes.size(); k++)
        line["probabilities"][task.classes[k]] = shortest(picture.probabilities[k]);
      line["logits"] = Json::array();
      for (double logit : picture.logits) line["logits"].push_back(shortest(logit));
      if (!predictor_.bands().empty()) line["files"] = predictor_.bands().files_of(picture.path);
      line["seen"] = {{"left", seen.left},
                      {"top", seen.top},
                      {"width", seen.width()},
                      {"height", seen.height()}};
      if (!picture.place.empty()) line["georeference"] = json_of(picture.place, where);
      print_line(line);
    } else {
      print(name + "\t" + fixed(picture.probabilities[decided], 4) + "\t" + picture.path + "\n");
    }
  }

  void count_unplaced(const PredictedPicture& picture) {
    if (unplaced_.pictures++ > 0) return;
    unplaced_.first = picture.path;
    unplaced_.system = picture.place.epsg > 0 ? "EPSG:" + std::to_string(picture.place.epsg)
                       : picture.place.geo_keys.empty() ? "the file names none"
                                                        : "described in the file";
  }

  void write_csv(const std::vector<std::string>& cells) {
    const std::string row = csv_row(cells);
    csv_->write(row.data(), row.size());
  }
  void write_csv_header() {
    std::vector<std::string> cells{"path", "class"};
    for (const char* what : {"probability_", "logit_"})
      for (const std::string& name : predictor_.classifier().task().classes)
        cells.push_back(what + name);
    if (places_)
      cells.insert(cells.end(), {"epsg", "west", "south", "east", "north", "seen_west",
                                 "seen_south", "seen_east", "seen_north", "longitude", "latitude"});
    cells.emplace_back("error");
    write_csv(cells);
  }
  // `where`: nullptr where nothing was predicted.
  void write_csv_row(const PredictedPicture& picture, const std::string& decided,
                     const Whereabouts* where) {
    std::vector<std::string> cells{picture.path, decided};
    const size_t classes = predictor_.classifier().task().classes.size();
    if (picture.error.empty()) {
      for (float probability : picture.probabilities) cells.push_back(number_text(probability));
      for (double logit : picture.logits) cells.push_back(number_text(logit));
    } else {
      cells.insert(cells.end(), 2 * classes, "");
    }
    if (places_) {
      const auto add = [&](const auto& numbers, size_t count) {
        for (size_t i = 0; i < count; i++)
          cells.push_back(numbers ? Json((*numbers)[i]).dump() : "");
      };
      const Whereabouts found = where ? *where : Whereabouts({}, {}, {});
      cells.push_back(picture.place.epsg > 0 ? std::to_string(picture.place.epsg) : "");
      add(found.bounds, 4);
      add(found.seen_bounds, 4);
      add(found.centre, 2);
    }
    cells.push_back(picture.error);
    write_csv(cells);
  }

  const Options& options_;
  const SharedOptions& shared_;
  CommandContext command_;
  Predictor predictor_;
  std::optional<AtomicFile> csv_;
  bool places_ = false;  // whether the table says where pictures lie
  double threshold_ = 0.5;
  int64_t failed_ = 0;
  PictureNotes notes_;
  struct Unplaced {
    int64_t pictures = 0;
    std::string first, system;  // of one of them
  } unplaced_;
};

int run(const Options& options, const SharedOptions& shared) {
  if (!calls_pixels(options.pictures.model)) {
    if (options.stride)
      return predict_windows(
          {options.pictures, *options.stride, options.pixels.out, options.csv, options.threshold},
          shared);
    if (!options.pixels.out.empty())
      usage_error(
          "--out gets the maps of a model that gives each pixel a class; this one gives a "
          "picture one, of which --csv FILE writes a table, and of large scenes maps with "
          "--stride N");
    if (options.pixels.probabilities || options.pixels.memory)
      usage_error("--probabilities and --memory go with models that give each pixel a class");
    return Printer(options, shared).run();
  }
  if (options.stride)
    usage_error("--stride goes with models that give a picture one class; of this one say --tile");
  if (options.pixels.memory && options.pixels.tile > 0)
    usage_error("--memory chooses the parts' size: leave out --tile, or --memory");
  PredictPixelsOptions pixels = options.pixels;
  pixels.model = options.pictures.model;
  pixels.paths = options.pictures.paths;
  pixels.bands = options.pictures.bands;
  pixels.csv = options.csv;
  pixels.max_pixels = options.pictures.max_pixels;
  return predict_pixels(pixels, shared);
}

}  // namespace

void add_predict(Cli& cli) {
  auto options = std::make_shared<Options>();
  CLI::App& command = add_command(cli, "predict", "Say of pictures which class they are",
                                  [options, &cli] { return run(*options, cli.shared); });
  command.add_option("MODEL", options->pictures.model, "A model file, such as best.safetensors")
      ->required();
  command
      .add_option("IMAGE", options->pictures.paths,
                  "Pictures (PNG, JPEG, BMP, TIFF), and folders of pictures, deeper ones included")
      ->required();
  add_path(command, "--out", options->pixels.out,
           "Of a model of pixels: the folder that gets a GeoTIFF and a PNG of the classes of each "
           "picture",
           "DIR");
  add_integer(command, "--tile", options->pixels.tile, 16, 1 << 16,
              "Of a model of pixels: side of the parts that go through the network (default: the "
              "crop,\nor what a coarse network asks for)");
  add_integer(
      command, "--halo", options->pixels.halo, 0, 1 << 15,
      "Of a model of pixels: what parts see around their own on every side, pixels, rounded up\nto "
      "the network's coarsest stride (default: an eighth of a part)");
  add_integer(command, "--stride", options->stride, 1, 1 << 16,
              "Of a model that gives pictures one class: look at windows of its crop, so many "
              "pixels apart,\nin scenes of any size: --out gets STEM.probabilities.tif, --csv what "
              "is detected");
  add_bytes(command, "--memory", options->pixels.memory,
            "Of a model of pixels: bytes that choose the tile, as large as they allow");
  command.add_flag("--probabilities", options->pixels.probabilities,
                   "Of a model of pixels: also write STEM.TASK.probabilities.tif, a band for each\n"
                   "class; of a task of numbers STEM.TASK.values.tif");
  add_path(command, "--csv", options->csv,
           "Also write a table to this file; of a model of pixels, the area of each class", "FILE");
  add_bands(command, options->pictures.bands, "(default: as the model's pictures)");
  add_number(command, "--threshold", options->threshold, 0, 1,
             "Of two classes: the positive one from this probability on (default: the model's)");
  add_integer(command, "--batch", options->pictures.batch, 1, 4096,
              "Pictures that go through the network together (default: by the crop)");
  add_max_pixels(command, options->pictures.max_pixels);
  add_device(command, cli.shared);
  add_precision(command, cli.shared.precision);
}

}  // namespace fulmar::tools
