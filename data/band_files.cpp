#include "data/band_files.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <utility>

#include "data/dataset.h"
#include "data/ice_bands.h"
#include "data/ice_scene.h"
#include "kernels/error.h"

namespace fulmar::data {

namespace fs = std::filesystem;

namespace {

std::string extents(const ImageHeader& header) {
  return std::to_string(header.width) + " x " + std::to_string(header.height) + " pixels";
}

// What the files of a sample are together.
ImageHeader combined(const std::vector<std::string>& files,
                     const std::vector<ImageHeader>& headers) {
  ImageHeader all = headers[0];
  const auto differ = [&](size_t i, const std::string& its, const std::string& first) {
    file_error(files[i] + ": " + its + ", and " + files[0] + " has " + first +
               "; the files of a sample must be alike");
  };
  const auto nodata = [](const ImageHeader& header) {
    return header.nodata ? "the nodata value " + std::to_string(*header.nodata)
                         : std::string("no nodata value");
  };
  for (size_t i = 1; i < files.size(); i++) {
    const ImageHeader& header = headers[i];
    if (header.height != all.height || header.width != all.width)
      differ(i, "it has " + extents(header), extents(all));
    if (header.type != all.type)
      differ(i, std::string("its values are ") + name_of(header.type), name_of(all.type));
    if (header.nodata != all.nodata) differ(i, "it has " + nodata(header), nodata(all));
    all.bands += header.bands;
    for (const std::string& remark : header.remarks)
      if (std::find(all.remarks.begin(), all.remarks.end(), remark) == all.remarks.end())
        all.remarks.push_back(remark);
  }
  return all;
}

void require_partners(const std::vector<std::string>& files, const std::string& path,
                      const BandFiles& bands) {
  for (const std::string& file : files) {
    std::error_code error;
    if (!fs::exists(file, error))
      file_error(file + ": no such file, and " + path + " goes with it (" + bands.to_string() +
                 "); add it, or remove the other");
  }
}

// Whether a file is a scene in NetCDF. Error(file): bands of one are asked of another file.
bool is_scene(const std::string& path, const BandFiles& bands) {
  if (is_netcdf(path)) return true;
  if (!bands.of_scenes().empty())
    file_error(path + ": no scene in NetCDF (.nc), of which --bands " + bands.to_string() +
               " names the variables");
  return false;
}

const std::vector<std::string>& bands_of_scenes(const BandFiles& bands) {
  return bands.of_scenes().empty() ? usual_ice_bands() : bands.of_scenes();
}

}  // namespace

BandFiles::BandFiles(std::vector<std::string> patterns) : patterns_(std::move(patterns)) {
  if (std::any_of(patterns_.begin(), patterns_.end(), names_ice_bands)) {
    of_scenes_ = ice_bands(patterns_);
    patterns_.clear();
    return;
  }
  if (patterns_.size() == 1)
    usage_error(
        "--bands takes a pattern for each file of a sample, two or more with commas "
        "between; '" +
        patterns_[0] + "' is one");
  for (const std::string& pattern : patterns_) {
    if (std::count(pattern.begin(), pattern.end(), '*') != 1 || pattern.size() < 2)
      usage_error("--bands: '" + pattern +
                  "' must have one * for what the files of a sample share, as *_VV.tif");
    if (!is_utf8(pattern))
      usage_error("--bands: '" + pattern + "' is not UTF-8, as a model file is; rename the files");
    if (pattern.find('/') != std::string::npos)
      usage_error("--bands: '" + pattern +
                  "' names a folder; the files of a sample must lie in the same one");
    if (std::count(patterns_.begin(), patterns_.end(), pattern) > 1)
      usage_error("--bands: '" + pattern + "' stands there twice");
  }
}

BandFiles BandFiles::shown() const {
  BandFiles few = *this;
  if (few.of_scenes_.size() > 3) few.of_scenes_.resize(3);
  return few;
}

BandFiles BandFiles::parse(const std::string& list) {
  if (list.empty() || list == "none") return {};
  std::vector<std::string> patterns;
  for (size_t from = 0; from <= list.size();) {
    const size_t comma = std::min(list.find(',', from), list.size());
    patterns.push_back(list.substr(from, comma - from));
    from = comma + 1;
  }
  return BandFiles(std::move(patterns));
}

std::string BandFiles::to_string() const {
  std::string text;
  for (const std::string& word : words()) text += (text.empty() ? "" : ",") + word;
  return text.empty() ? "none" : text;
}

std::optional<BandFiles::Match> BandFiles::match(const std::string& path) const {
  const std::string name = fs::path(path).filename().string();
  std::optional<Match> best;
  for (size_t band = 0; band < patterns_.size(); band++) {
    const std::string& pattern = patterns_[band];
    const size_t star = pattern.find('*');
    const std::string before = pattern.substr(0, star), behind = pattern.substr(star + 1);
    if (name.size() <= before.size() + behind.size() || name.rfind(before, 0) != 0 ||
        name.compare(name.size() - behind.size(), behind.size(), behind) != 0 ||
        (best && pattern.size() <= patterns_[best->band].size()))
      continue;
    best = {band, name.substr(star, name.size() - before.size() - behind.size())};
  }
  return best;
}

std::vector<std::string> BandFiles::files_of(const std::string& path) const {
  const std::optional<Match> own = match(path);
  if (!own) return {path};
  const std::string folder =
      path.substr(0, path.size() - fs::path(path).filename().string().size());
  std::vector<std::string> files;
  for (const std::string& pattern : patterns_) {
    const size_t star = pattern.find('*');
    files.push_back(folder + pattern.substr(0, star) + own->stem + pattern.substr(star + 1));
  }
  return files;
}

std::string BandFiles::name_of_sample(const std::string& path) const {
  const std::optional<Match> own = match(path);
  if (!own) return path;
  return path.substr(0, path.size() - fs::path(path).filename().string().size()) + own->stem;
}

ImageHeader probe_sample(const std::string& path, const BandFiles& bands,
                         const ImageLimits& limits) {
  if (is_scene(path, bands)) return probe_ice_scene(path, bands_of_scenes(bands), limits);
  const std::vector<std::string> files = bands.files_of(path);
  if (files.size() == 1) return probe_image(path, limits);
  require_partners(files, path, bands);
  std::vector<ImageHeader> headers;
  for (const std::string& file : files) headers.push_back(probe_image(file, limits));
  return combined(files, headers);
}

Image read_sample(const std::string& path, const BandFiles& bands, const ImageLimits& limits,
                  const PicturePart& part) {
  if (is_scene(path, bands)) return read_ice_scene(path, bands_of_scenes(bands), limits, part);
  const std::vector<std::string> files = bands.files_of(path);
  if (files.size() == 1) return read_image(path, limits, part);
  require_partners(files, path, bands);
  std::vector<Image> parts;
  std::vector<ImageHeader> headers;
  for (const std::string& file : files) {
    parts.push_back(read_image(file, limits, part));
    headers.push_back(parts.back());
  }
  Image image;
  static_cast<ImageHeader&>(image) = combined(files, headers);
  image.data.resize(static_cast<size_t>(image.bytes()));
  const size_t value_bytes = size_of(image.type);
  const size_t pixel_bytes = static_cast<size_t>(image.bands) * value_bytes;
  size_t first = 0;  // byte of a pixel where the part's bands begin
  for (const Image& of_file : parts) {
    image.dropped_alpha |= of_file.dropped_alpha;
    const size_t bytes = static_cast<size_t>(of_file.bands) * value_bytes;
    for (size_t pixel = 0; pixel < static_cast<size_t>(image.pixels()); pixel++)
      std::memcpy(image.data.data() + pixel * pixel_bytes + first,
                  of_file.data.data() + pixel * bytes, bytes);
    first += bytes;
  }
  return image;
}

}  // namespace fulmar::data
