#include "tools/predict_pixels.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <optional>

#include "data/dataset.h"
#include "data/encode_png.h"
#include "data/geotiff.h"
#include "data/pictures.h"
#include "engine/io/file.h"
#include "kernels/error.h"
#include "model/scene_session.h"
#include "tools/console.h"
#include "tools/output.h"
#include "tools/progress.h"
#include "tools/run/observer.h"
#include "tools/run/pixel_classes.h"
#include "tools/run/pixel_evaluation.h"
#include "tools/run/results.h"
#include "tools/run/stems.h"
#include "tools/run/text.h"
#include "tools/signals.h"

namespace fulmar::tools {
namespace {

// Of pixels where no band was measured; the classes' numbers are others, or it is not written.
constexpr double nothing = 255;

// Colours that people with a red-green weakness tell apart: Okabe and Ito, "Color Universal Design"
// (2008), then again, darker.
std::array<uint8_t, 3> colour_of(size_t k) {
  constexpr std::array<std::array<uint8_t, 3>, 8> colours{{{0, 114, 178},
                                                           {230, 159, 0},
                                                           {86, 180, 233},
                                                           {0, 158, 115},
                                                           {240, 228, 66},
                                                           {213, 94, 0},
                                                           {204, 121, 167},
                                                           {153, 153, 153}}};
  std::array<uint8_t, 3> colour = colours[k % colours.size()];
  for (size_t round = 0; round < k / colours.size(); round++)
    for (uint8_t& part : colour) part = static_cast<uint8_t>(part * 2 / 3);
  return colour;
}

// Whether no band of a pixel was measured, by the file or as the network reads it: the pictures of
// its training may have declared a nodata value that this file only has.
bool is_missing(const data::Image& image, int64_t pixel, const WarpOptions& read) {
  for (int64_t band = 0; band < image.bands; band++) {
    const int64_t at = pixel * image.bands + band;
    const float value =
        image.type == DType::f32   ? reinterpret_cast<const float*>(image.data.data())[at]
        : image.type == DType::u16 ? reinterpret_cast<const uint16_t*>(image.data.data())[at]
                                   : image.data[static_cast<size_t>(at)];
    const bool is_fill =
        !std::isfinite(value) || image.nodata == value || (read.has_nodata && value == read.nodata);
    if (!is_fill) return false;
  }
  return true;
}

// A scene's classes by task; 255 where nothing was measured.
struct Called {
  int64_t height = 0, width = 0;
  std::vector<std::vector<uint8_t>> tasks;  // places of classes, row after row
};

class ScenePredictor {
 public:
  ScenePredictor(const PredictPixelsOptions& options, const SharedOptions& shared)
      : options_(options),
        shared_(shared),
        command_(shared),
        model_(std::make_shared<const model::LoadedModel>(options.model, command_.device())),
        session_(model_, command_.context(), command_.device()),
        classes_(classes_of(model_->heads())),
        bands_(band_files_of(options.bands, preprocess())),
        limits_(image_limits(options.max_pixels)),
        stride_(model::coarsest_stride(model_->info().network)),
        warp_(preprocess().warp_options()) {
    for (const std::string& note : model_->notes()) say(note);
  }

  int run() {
    const std::vector<std::string> paths = data::list_pictures(options_.paths, bands_);
    const std::vector<std::string> stems = stems_of(paths, bands_);
    make_folders(options_.out);
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
    if (failed > 0)
      say(std::to_string(failed) + " of " + std::to_string(paths.size()) +
          " pictures could not be used");
    return failed > 0 ? exit_file : exit_ok;
  }

 private:
  const Preprocess& preprocess() const { return model_->info().picture(); }

  void predict(const std::string& path, const std::string& stem) {
    const data::ImageHeader header = data::probe_sample(path, bands_, limits_);
    if (const std::string reason = data::kind_misfit(preprocess(), header); !reason.empty())
      file_error(path + ": " + reason);
    const Called called = call(path, header);
    const data::Georeference place = data::read_georeference(path);
    Json tasks = Json::object();
    for (size_t task = 0; task < classes_.size(); task++) {
      const std::string base = options_.out + "/" + stem + "." + classes_[task].task;
      write_classes(base + ".tif", called, task, place);
      write_picture(base + ".png", called, task);
      tasks[classes_[task].task] = {{"file", base + ".tif"}, {"share", shares(called, task)}};
    }
    if (shared_.json)
      print_line({{"path", path}, {"tasks", tasks}});
    else
      print_shares(path, tasks);
  }

  // The model's crop, or more where the network's coarsest stride asks for it.
  int64_t default_tile() const {
    const int64_t crop = preprocess().crop;
    const int64_t halo = options_.halo.value_or(customary_halo(crop));
    const int64_t around = (halo + stride_ - 1) / stride_ * stride_;
    return std::max(crop, 2 * around + stride_);
  }

  // A row of parts at a time is read.
  Called call(const std::string& path, const data::ImageHeader& header) {
    Called called{header.height, header.width, {}};
    called.tasks.assign(classes_.size(),
                        std::vector<uint8_t>(static_cast<size_t>(header.pixels())));
    const int64_t tile = options_.tile > 0 ? options_.tile : default_tile();
    const int64_t halo =
        options_.halo.value_or(customary_halo(options_.tile > 0 ? tile : preprocess().crop));
    const auto rows = model::scene_spans(header.height, tile, halo, stride_);
    const auto columns = model::scene_spans(header.width, tile, halo, stride_);
    Progress progress(std::ssize(rows) * std::ssize(columns), "tiles");
    int64_t done = 0;
    for (const model::SceneSpan& row : rows) {
      data::Image band = data::with_channels(
          data::read_sample(path, bands_, limits_,
                            data::window(row.start, 0, row.end - row.start, header.width)),
          preprocess().bands);
      for (const model::SceneSpan& column : columns) {
        stop_if_interrupted();
        call_part(band, row, column, called);
        progress.update(++done);
      }
    }
    return called;
  }

  void call_part(const data::Image& band, const model::SceneSpan& row,
                 const model::SceneSpan& column, Called& called) {
    const int64_t height = row.end - row.start, width = column.end - column.start;
    const auto pixel = static_cast<size_t>(band.bands) * size_of(band.type);
    part_.resize(static_cast<size_t>(height * width) * pixel);
    for (int64_t y = 0; y < height; y++)
      std::memcpy(part_.data() + static_cast<size_t>(y * width) * pixel,
                  band.data.data() + static_cast<size_t>(y * band.width + column.start) * pixel,
                  static_cast<size_t>(width) * pixel);
    const auto classes =
        session_.call(view_of(part_.data(), {1, height, width, band.bands}, band.type));
    for (int64_t y = row.own_start; y < row.own_end; y++)
      for (int64_t x = column.own_start; x < column.own_end; x++) {
        const bool missing = is_missing(band, (y - row.start) * band.width + x, warp_);
        const auto at = static_cast<size_t>((y - row.start) * width + x - column.start);
        for (size_t task = 0; task < classes.size(); task++)
          called.tasks[task][static_cast<size_t>(y * called.width + x)] =
              missing ? data::unlabelled : classes[task][at];
      }
  }

  void write_classes(const std::string& path, const Called& called, size_t task,
                     const data::Georeference& place) const {
    const std::vector<int64_t>& numbers = classes_[task].numbers;
    const int64_t least = *std::min_element(numbers.begin(), numbers.end());
    const int64_t most = *std::max_element(numbers.begin(), numbers.end());
    const bool bytes = least >= 0 && most < 255;
    data::Image image;
    static_cast<data::ImageHeader&>(image) = {called.height, called.width, 1,
                                              bytes ? DType::u8 : DType::f32};
    image.data.resize(static_cast<size_t>(image.bytes()));
    auto* floats = reinterpret_cast<float*>(image.data.data());
    for (size_t i = 0; i < called.tasks[task].size(); i++) {
      const uint8_t k = called.tasks[task][i];
      if (bytes)
        image.data[i] = k == data::unlabelled ? k : static_cast<uint8_t>(numbers[k]);
      else
        floats[i] = k == data::unlabelled ? NAN : static_cast<float>(numbers[k]);
    }
    data::write_geotiff(path, image, place, bytes ? nothing : NAN);
  }

  static void write_picture(const std::string& path, const Called& called, size_t task) {
    data::Image image;
    static_cast<data::ImageHeader&>(image) = {called.height, called.width, 3, DType::u8};
    image.data.reserve(static_cast<size_t>(image.bytes()));
    for (const uint8_t k : called.tasks[task])
      for (const uint8_t part :
           k == data::unlabelled ? std::array<uint8_t, 3>{0, 0, 0} : colour_of(k))
        image.data.push_back(part);
    write_file(path, data::encode_png(image));
  }

  // Of each class among the pixels that were called.
  Json shares(const Called& called, size_t task) const {
    std::vector<int64_t> counts(256);
    for (const uint8_t k : called.tasks[task]) counts[k]++;
    const auto all = static_cast<double>(std::ssize(called.tasks[task]) - counts[data::unlabelled]);
    Json json = Json::object();
    for (size_t k = 0; k < classes_[task].names.size(); k++)
      json[classes_[task].names[k]] =
          number_json(all > 0 ? static_cast<double>(counts[k]) / all : NAN);
    return json;
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
  model::SceneSession session_;
  std::vector<PixelClasses> classes_;
  data::BandFiles bands_;
  data::ImageLimits limits_;
  int64_t stride_;
  WarpOptions warp_;
  std::vector<uint8_t> part_;
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
