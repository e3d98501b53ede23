#include "tools/run/reduce_pictures.h"

#include <atomic>
#include <filesystem>
#include <system_error>

#include "data/box_means.h"
#include "data/encode_png.h"
#include "data/geotiff.h"
#include "engine/io/file.h"
#include "kernels/error.h"

namespace fulmar::tools {
namespace {

namespace fs = std::filesystem;

bool is_up_to_date(const ReducedFile& file) {
  std::error_code error;
  const fs::file_time_type copied = fs::last_write_time(file.to, error);
  return !error && copied >= fs::last_write_time(file.from);
}

void reduce(const ReducedFile& file, int64_t factor, const data::ImageLimits& limits) {
  const data::Image image = data::read_image(file.from, limits);
  if (image.height < factor || image.width < factor)
    file_error(file.from + ": its " + std::to_string(image.height) + " x " +
               std::to_string(image.width) + " pixels are fewer than one of those " +
               std::to_string(factor) + " times as large; leave that factor out");
  const data::Image small = data::reduced(image, factor);
  if (data::is_called_tiff(file.to))
    data::write_geotiff(file.to, small, data::reduced(data::read_georeference(file.from), factor),
                        small.nodata);
  else
    write_file(file.to, data::encode_png(small));
}

}  // namespace

void reduce_pictures(const std::vector<ReducedFile>& files, int64_t factor,
                     const data::ImageLimits& limits, const std::string& label, Context& context,
                     Observer& observer) {
  std::vector<const ReducedFile*> missing;
  for (const ReducedFile& file : files) {
    if (is_up_to_date(file)) continue;
    missing.push_back(&file);
    std::error_code error;
    const fs::path folder = fs::path(file.to).parent_path();
    fs::create_directories(folder, error);
    if (error) file_error(folder.string() + ": can't be made: " + error.message());
  }
  if (missing.empty()) return;
  const Advance advance = observer.on_job(label, std::ssize(missing), "pictures");
  std::atomic<int64_t> done{0};
  context.pool().run(std::ssize(missing), [&](int64_t i, int worker) {
    stop_if_cancelled(context);
    reduce(*missing[static_cast<size_t>(i)], factor, limits);
    const int64_t now = ++done;
    if (worker == 0) advance(now);
  });
}

std::string place_of_copy(const std::string& file, const std::string& folder,
                          const std::string& out) {
  fs::path place = fs::path(out) / fs::path(file).lexically_relative(folder);
  if (!data::is_called_tiff(file)) place.replace_extension(".png");
  return place.string();
}

}  // namespace fulmar::tools
