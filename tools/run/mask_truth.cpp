#include "tools/run/mask_truth.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "kernels/error.h"

namespace fulmar::tools {

namespace fs = std::filesystem;

std::string find_mask(const std::string& picture, const std::string& folder) {
  const fs::path path = fs::absolute(picture).lexically_normal();
  std::vector<std::string> names;  // of the folders around it, outermost first
  for (const fs::path& part : path.parent_path()) names.push_back(part.string());
  const auto tail = [&](size_t from) {
    fs::path end;
    for (size_t i = from; i < names.size(); i++) end /= names[i];
    return end / (path.stem().string() + ".png");
  };
  const auto is_there = [](const fs::path& file) {
    std::error_code error;
    return fs::is_regular_file(file, error);
  };
  for (size_t from = 1; from <= names.size(); from++) {
    fs::path root = folder;
    if (folder.empty()) {
      for (size_t i = 0; i < from; i++) root /= names[i];
      root /= "masks";
    }
    if (const fs::path file = root / tail(from); is_there(file)) return file.string();
  }
  return {};
}

MaskTruth::MaskTruth(const std::string& path, const data::ImageHeader& picture,
                     const SeenArea& seen) {
  data::Image mask = data::with_channels(data::read_image(path), 1);
  if (mask.height != picture.height || mask.width != picture.width || mask.type != DType::u8)
    file_error(path + ": a mask of " + std::to_string(mask.width) + " x " +
               std::to_string(mask.height) + " pixels of " + name_of(mask.type) +
               "; its picture has " + std::to_string(picture.width) + " x " +
               std::to_string(picture.height) + ": make an 8-bit PNG of that size");
  top = std::llround(seen.top), left = std::llround(seen.left);
  height = std::llround(seen.bottom) - top, width = std::llround(seen.right) - left;
  for (int64_t row = top; row < top + height; row++)
    for (int64_t column = left; column < left + width; column++)
      inside.push_back(mask.data[static_cast<size_t>(row * mask.width + column)] > 0);
}

bool MaskTruth::empty() const { return std::find(inside.begin(), inside.end(), 1) == inside.end(); }

double MaskTruth::share() const {
  return static_cast<double>(std::count(inside.begin(), inside.end(), 1)) /
         static_cast<double>(inside.size());
}

bool MaskTruth::has_centre() const {
  return inside[static_cast<size_t>(height / 2 * width + width / 2)] != 0;
}

std::vector<float> MaskTruth::seen(const std::vector<float>& map, int64_t picture_width) const {
  std::vector<float> part;
  for (int64_t row = top; row < top + height; row++) {
    const auto from = map.begin() + row * picture_width + left;
    part.insert(part.end(), from, from + width);
  }
  return part;
}

std::vector<float> brightness_of(const data::Image& image) {
  std::vector<float> means;
  const auto mean_of = [&](const auto* values) {
    for (int64_t pixel = 0; pixel < image.pixels(); pixel++) {
      double sum = 0;
      for (int64_t band = 0; band < image.bands; band++) {
        const auto value = static_cast<double>(values[pixel * image.bands + band]);
        if (std::isfinite(value) && value != image.nodata) sum += value;
      }
      means.push_back(static_cast<float>(sum / static_cast<double>(image.bands)));
    }
  };
  if (image.type == DType::u8) mean_of(image.data.data());
  if (image.type == DType::u16) mean_of(reinterpret_cast<const uint16_t*>(image.data.data()));
  if (image.type == DType::f32) mean_of(reinterpret_cast<const float*>(image.data.data()));
  return means;
}

}  // namespace fulmar::tools
