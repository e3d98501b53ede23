#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <set>
#include <tuple>

#include "data/dataset.h"
#include "data/geotiff.h"
#include "data/image.h"
#include "data/pictures.h"
#include "data/projection.h"
#include "engine/io/file.h"
#include "engine/picture/geometry.h"
#include "kernels/error.h"
#include "model/classifier.h"
#include "model/metrics.h"
#include "tools/cli.h"
#include "tools/console.h"
#include "tools/memory.h"
#include "tools/output.h"
#include "tools/picture_notes.h"
#include "tools/progress.h"
#include "tools/results.h"
#include "tools/table.h"

namespace fulmar::tools {
namespace {

struct Options {
  std::string model, csv;
  std::vector<std::string> paths;
  std::optional<std::string> bands;
  double threshold = -1;  // -1: the model's
  int64_t batch = 0;      // 0: by the crop
  int64_t max_pixels = data::ImageLimits{}.max_pixels;
};

// Pictures that are decoded together: that many batches, and bytes.
constexpr int64_t batches_in_window = 4, window_bytes = int64_t{512} << 20;

struct Item {
  std::string path;
  std::string error;         // why there is no result
  data::ImageHeader header;  // of the whole picture
  data::Georeference place;
  data::Image image;  // what the network reads of it, by `sample`
  WarpSample sample;
  std::vector<double> logits;
  std::vector<float> probabilities;
};

// Calls `work`, and keeps what it says about a file that can't be used.
template <class Work>
void keep_error(Item& item, const Work& work) {
  try {
    work();
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::cancelled || error.kind() == ErrorKind::device) throw;
    item.error = error.what();
  } catch (const std::bad_alloc&) {
    item.error = item.path + ": there is not enough memory for this picture";
  }
}

std::vector<Item> find_items(const std::vector<std::string>& paths, const data::BandFiles& bands) {
  std::vector<Item> items;
  std::set<std::string> seen;  // a sample of several files may be named by each
  for (const std::string& path : paths) {
    Item whole;
    whole.path = path;
    keep_error(whole, [&] {
      for (const std::string& file : data::list_pictures(std::span(&path, 1), bands)) {
        if (!bands.empty() && !seen.insert(file).second) continue;
        items.emplace_back();
        items.back().path = file;
      }
    });
    if (!whole.error.empty()) items.push_back(std::move(whole));
  }
  return items;
}

// Why the model can't take a picture of this kind; empty where it can.
std::string refusal(const Preprocess& preprocess, const data::ImageHeader& header) {
  const std::string kind = data::kind_misfit(preprocess, header);
  return kind.empty() ? misfit(preprocess, header.height, header.width) : kind;
}

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

class Predictor {
 public:
  Predictor(const Options& options, const SharedOptions& shared)
      : options_(options),
        shared_(shared),
        command_(shared),
        classifier_(command_.context(), options.model, command_.device()),
        bands_(band_files_of(options.bands, classifier_.preprocess())),
        items_(find_items(options.paths, bands_)),
        limits_(image_limits(options.max_pixels)) {
    for (const std::string& note : classifier_.notes()) say(note);
    threshold_ = threshold_of(classifier_.task(), options.threshold);
    batch_ = options.batch;
    if (batch_ == 0) batch_ = customary_batch(preprocess());
  }

  int run() {
    if (!options_.csv.empty()) {
      csv_.emplace(options_.csv);
      places_ = std::any_of(items_.begin(), items_.end(),
                            [](const Item& item) { return data::is_called_tiff(item.path); });
      write_csv_header();
    }
    Progress progress(std::ssize(items_), "images");
    for (size_t from = 0; from < items_.size();) {
      const size_t to = probe_window(from);
      decode(from, to);
      predict(from, to);
      for (size_t i = from; i < to; i++) {
        report(items_[i]);
        items_[i].image = {};
      }
      flush_output();
      progress.update(static_cast<int64_t>(to));
      from = to;
    }
    if (csv_) csv_->commit();
    notes_.say();
    if (unplaced_.pictures > 0)
      note("no longitude and latitude for " + with_separators(unplaced_.pictures) +
           " of the pictures, such as " + unplaced_.first + ": their reference system (" +
           unplaced_.system + ") is none of those that are known here");
    AlphaNote().say_if(dropped_alpha_);
    if (failed_ > 0)
      say(std::to_string(failed_) + " of " + std::to_string(items_.size()) +
          " pictures could not be used");
    return failed_ > 0 ? exit_file : exit_ok;
  }

 private:
  const Preprocess& preprocess() const { return classifier_.preprocess(); }

  // Looks at the headers of the next pictures; gives the end of those that are handled together.
  size_t probe_window(size_t from) {
    const auto longest = static_cast<size_t>(batches_in_window * batch_);
    int64_t bytes = 0;
    size_t to = from;
    while (to < items_.size() && to - from < longest && (to == from || bytes < window_bytes)) {
      Item& item = items_[to++];
      if (!item.error.empty()) continue;
      keep_error(item, [&] {
        item.header = data::probe_sample(item.path, bands_, limits_);
        const std::string reason = refusal(preprocess(), item.header);
        if (!reason.empty()) file_error(item.path + ": " + reason);
        bytes += require_room(item);
      });
    }
    return to;
  }

  // Bytes of what is decoded of a picture. Error(file) where that and the network's own copy of it
  // are more than there is room for.
  int64_t require_room(const Item& item) {
    data::ImageHeader decoded = item.header;
    const CentrePart& part = part_of(item.header);
    decoded.height = std::ssize(part.rows);
    decoded.width = std::ssize(part.columns);
    decoded.bands = std::max(decoded.bands, preprocess().bands);
    const auto bytes = static_cast<uint64_t>(decoded.bytes());
    const uint64_t left = memory_left();
    if (2 * bytes > left)
      file_error(item.path + ": it takes " + readable_bytes(2 * bytes) + " of memory, and " +
                 readable_bytes(left) +
                 " are free; cut the picture into parts, or use a machine with more memory");
    return decoded.bytes();
  }

  // What the network reads of a picture; the latest extents' is kept.
  const CentrePart& part_of(const data::ImageHeader& header) {
    if (!part_ || header.height != part_height_ || header.width != part_width_)
      part_ = std::make_shared<CentrePart>(centre_part(preprocess(), header.height, header.width));
    part_height_ = header.height;
    part_width_ = header.width;
    return *part_;
  }

  void decode(size_t from, size_t to) {
    command_.context().pool().run(static_cast<int64_t>(to - from), [&](int64_t task, int) {
      Item& item = items_[from + static_cast<size_t>(task)];
      if (!item.error.empty() || interrupted()) return;
      keep_error(item, [&] {
        item.place = data::read_georeference(item.path);
        const CentrePart part = centre_part(preprocess(), item.header.height, item.header.width);
        item.image = data::with_channels(
            data::read_sample(item.path, bands_, limits_, {part.rows, part.columns}),
            preprocess().bands);
        item.sample = part.sample;
      });
    });
    stop_if_interrupted();
  }

  // Pictures of one size and type go through the network together.
  void predict(size_t from, size_t to) {
    std::map<std::tuple<int64_t, int64_t, DType>, std::vector<size_t>> groups;
    for (size_t i = from; i < to; i++) {
      const data::Image& image = items_[i].image;
      dropped_alpha_ |= image.dropped_alpha;
      if (items_[i].error.empty()) groups[{image.height, image.width, image.type}].push_back(i);
    }
    const auto longest = static_cast<size_t>(batch_);
    for (const auto& [key, members] : groups)
      for (size_t at = 0; at < members.size(); at += longest)
        predict_batch(std::span(members).subspan(at, std::min(longest, members.size() - at)));
  }

  void predict_batch(std::span<const size_t> members) {
    data::Image& first = items_[members[0]].image;
    const size_t bytes = first.data.size();
    std::vector<uint8_t> together;
    std::vector<WarpSample> samples;
    for (const size_t i : members) {
      samples.push_back(items_[i].sample);
      if (members.size() == 1) break;
      const std::vector<uint8_t>& data = items_[i].image.data;
      together.resize(members.size() * bytes);
      std::memcpy(together.data() + (samples.size() - 1) * bytes, data.data(), bytes);
    }
    void* const pictures = members.size() == 1 ? first.data.data() : together.data();
    const Shape shape{std::ssize(members), first.height, first.width, first.bands};
    const model::Outputs outputs =
        classifier_.predict(view_of(pictures, shape, first.type), samples);
    const auto classes = std::ssize(classifier_.task().classes);
    for (size_t n = 0; n < members.size(); n++) {
      const auto row = static_cast<std::ptrdiff_t>(n) * classes;
      const auto of_picture = [&](const auto& all) {
        return std::vector(all.begin() + row, all.begin() + row + classes);
      };
      Item& item = items_[members[n]];
      item.logits = of_picture(outputs.logits);
      item.probabilities = of_picture(outputs.probabilities);
      if (!std::all_of(item.logits.begin(), item.logits.end(),
                       [](double logit) { return std::isfinite(logit); }))
        item.error = item.path + ": the model gives NaN or infinite values for this picture";
    }
  }

  void report(const Item& item) {
    const model::Classification& task = classifier_.task();
    if (!item.error.empty()) {
      failed_++;
      if (shared_.json)
        print_line({{"path", item.path}, {"error", item.error}});
      else
        say(item.error);
      if (csv_) write_csv_row(item, "", nullptr);
      return;
    }
    const auto decided =
        static_cast<size_t>(model::decide(item.probabilities, task.positive_class, threshold_));
    const std::string& name = task.classes[decided];
    notes_.add(item.path, item.header, &preprocess());
    const SeenArea seen = seen_area(preprocess(), item.header.height, item.header.width);
    const Whereabouts where(item.place, item.header, seen);
    if (where.bounds && !where.centre) count_unplaced(item);
    if (csv_) write_csv_row(item, name, &where);
    if (shared_.json) {
      Json line{{"path", item.path}, {"class", name}};
      line["probabilities"] = Json::object();
      for (size_t k = 0; k < task.classes.size(); k++)
        line["probabilities"][task.classes[k]] = shortest(item.probabilities[k]);
      line["logits"] = Json::array();
      for (double logit : item.logits) line["logits"].push_back(shortest(logit));
      if (!bands_.empty()) line["files"] = bands_.files_of(item.path);
      line["seen"] = {{"left", seen.left},
                      {"top", seen.top},
                      {"width", seen.width()},
                      {"height", seen.height()}};
      if (!item.place.empty()) line["georeference"] = json_of(item.place, where);
      print_line(line);
    } else {
      print(name + "\t" + fixed(item.probabilities[decided], 4) + "\t" + item.path + "\n");
    }
  }

  void count_unplaced(const Item& item) {
    if (unplaced_.pictures++ > 0) return;
    unplaced_.first = item.path;
    unplaced_.system = item.place.epsg > 0           ? "EPSG:" + std::to_string(item.place.epsg)
                       : item.place.geo_keys.empty() ? "the file names none"
                                                     : "described in the file";
  }

  void write_csv(const std::vector<std::string>& cells) {
    const std::string row = csv_row(cells);
    csv_->write(row.data(), row.size());
  }
  void write_csv_header() {
    std::vector<std::string> cells{"path", "class"};
    for (const char* what : {"probability_", "logit_"})
      for (const std::string& name : classifier_.task().classes) cells.push_back(what + name);
    if (places_)
      cells.insert(cells.end(), {"epsg", "west", "south", "east", "north", "seen_west",
                                 "seen_south", "seen_east", "seen_north", "longitude", "latitude"});
    cells.emplace_back("error");
    write_csv(cells);
  }
  // `where`: nullptr where nothing was predicted.
  void write_csv_row(const Item& item, const std::string& decided, const Whereabouts* where) {
    std::vector<std::string> cells{item.path, decided};
    const size_t classes = classifier_.task().classes.size();
    if (item.error.empty()) {
      for (float probability : item.probabilities) cells.push_back(number_text(probability));
      for (double logit : item.logits) cells.push_back(number_text(logit));
    } else {
      cells.insert(cells.end(), 2 * classes, "");
    }
    if (places_) {
      const auto add = [&](const auto& numbers, size_t count) {
        for (size_t i = 0; i < count; i++)
          cells.push_back(numbers ? Json((*numbers)[i]).dump() : "");
      };
      const Whereabouts found = where ? *where : Whereabouts({}, {}, {});
      cells.push_back(item.place.epsg > 0 ? std::to_string(item.place.epsg) : "");
      add(found.bounds, 4);
      add(found.seen_bounds, 4);
      add(found.centre, 2);
    }
    cells.push_back(item.error);
    write_csv(cells);
  }

  const Options& options_;
  const SharedOptions& shared_;
  CommandContext command_;
  model::Classifier classifier_;
  data::BandFiles bands_;
  std::vector<Item> items_;
  std::optional<AtomicFile> csv_;
  bool places_ = false;  // whether the table says where pictures lie
  double threshold_ = 0.5;
  int64_t batch_ = 1, failed_ = 0;
  bool dropped_alpha_ = false;
  data::ImageLimits limits_;
  PictureNotes notes_;
  struct Unplaced {
    int64_t pictures = 0;
    std::string first, system;  // of one of them
  } unplaced_;
  std::shared_ptr<const CentrePart> part_;
  int64_t part_height_ = 0, part_width_ = 0;
};

}  // namespace

void add_predict(Cli& cli) {
  auto options = std::make_shared<Options>();
  CLI::App& command =
      add_command(cli, "predict", "Say of pictures which class they are",
                  [options, &cli] { return Predictor(*options, cli.shared).run(); });
  command.add_option("MODEL", options->model, "A model file, such as best.safetensors")->required();
  command
      .add_option("IMAGE", options->paths,
                  "Pictures (PNG, JPEG, BMP, TIFF), and folders of pictures, deeper ones included")
      ->required();
  add_path(command, "--csv", options->csv, "Also write a table to this file", "FILE");
  add_bands(command, options->bands, "(default: as the model's pictures)");
  add_number(command, "--threshold", options->threshold, 0, 1,
             "Of two classes: the positive one from this probability on (default: the model's)");
  add_integer(command, "--batch", options->batch, 1, 4096,
              "Pictures that go through the network together (default: by the crop)");
  add_max_pixels(command, options->max_pixels);
  add_device(command, cli.shared);
  add_precision(command, cli.shared.precision);
}

}  // namespace fulmar::tools
