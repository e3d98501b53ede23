#include "engine/picture/preprocess.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>

#include "kernels/error.h"

namespace fulmar {
namespace {

using Json = nlohmann::ordered_json;

template <class T>
T entry(const Json& json, const char* key) {
  if (!json.contains(key)) usage_error(std::string("preprocessing has no '") + key + "'");
  try {
    return json[key].get<T>();
  } catch (const nlohmann::json::exception&) {
    usage_error(std::string("preprocessing: '") + key + "' has the wrong type");
  }
}

constexpr DType picture_types[] = {DType::u8, DType::u16, DType::f32};

DType type_called(const std::string& name) {
  for (DType type : picture_types)
    if (name == name_of(type)) return type;
  usage_error("preprocessing: 'type' must be u8, u16 or f32");
}

bool fits_f32(double value) { return std::abs(value) <= std::numeric_limits<float>::max(); }

void check_preprocess(const Preprocess& p) {
  const auto require = [](bool condition, const std::string& message) {
    if (!condition) usage_error("preprocessing: " + message);
  };
  constexpr int64_t max_side = 1 << 20;
  require(p.size >= 0 && p.size <= max_side, "the size must be 0 (native) to 1048576");
  require(p.crop >= 1 && p.crop <= max_side, "the crop must be 1 to 1048576");
  require(p.size == 0 || p.pad || p.crop <= p.size, "the crop is larger than the size");
  require(p.bands >= 1 && p.bands <= WarpOptions::max_bands,
          "there must be 1 to " + std::to_string(WarpOptions::max_bands) + " bands");
  require(std::count(std::begin(picture_types), std::end(picture_types), p.type) == 1,
          "the type must be u8, u16 or f32");
  const auto bands = static_cast<size_t>(p.bands);
  require(p.scale.size() == bands && p.offset.size() == bands && p.fill.size() == bands,
          "scale, offset and fill must have a value for each band");
  for (const auto* values : {&p.scale, &p.offset, &p.fill})
    for (double value : *values)
      require(fits_f32(value), "scale, offset and fill must be finite numbers of f32");
}

// NaN and infinities are fill anyway, and JSON has no word for them.
bool has_nodata(const Preprocess& p) { return p.nodata && fits_f32(*p.nodata); }

}  // namespace

Preprocess Preprocess::of_pictures(int64_t size, int64_t crop, int64_t bands, DType type) {
  if (type != DType::u8 && type != DType::u16)
    usage_error(std::string("pictures of ") + name_of(type) + " have no customary scale");
  Preprocess p;
  p.type = type;
  p.size = size;
  p.crop = crop;
  p.bands = bands;
  const auto n = static_cast<size_t>(bands > 0 ? bands : 0);
  p.scale.assign(n, type == DType::u8 ? 1.0 / 255 : 1.0 / 65535);
  p.offset.assign(n, 0);
  p.fill.assign(n, 0);
  check_preprocess(p);
  return p;
}

WarpOptions Preprocess::warp_options() const {
  check_preprocess(*this);
  WarpOptions options;
  options.interpolation = size == 0 ? Interpolation::bilinear : resize;
  options.border = size == 0 ? Border::fill : Border::clamp;
  for (size_t band = 0; band < scale.size(); band++) {
    options.scale[band] = static_cast<float>(scale[band]);
    options.offset[band] = static_cast<float>(offset[band]);
    options.fill[band] = static_cast<float>(fill[band]);
  }
  options.has_nodata = has_nodata(*this);
  if (options.has_nodata) options.nodata = static_cast<float>(*nodata);
  options.standardize = standardize;
  return options;
}

std::string Preprocess::to_json() const {
  check_preprocess(*this);
  Json json{{"size", size},   {"resize", resize == Interpolation::nearest ? "nearest" : "bilinear"},
            {"crop", crop},   {"bands", bands},
            {"pad", pad},     {"type", name_of(type)},
            {"scale", scale}, {"offset", offset},
            {"fill", fill},   {"standardize", standardize}};
  if (has_nodata(*this)) json["nodata"] = *nodata;
  if (!files.empty()) json["files"] = files;
  return json.dump();
}

Preprocess Preprocess::from_json(const std::string& text) {
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) usage_error("the preprocessing is not a JSON object");
  Preprocess p;
  p.size = entry<int64_t>(json, "size");
  const auto resize = entry<std::string>(json, "resize");
  if (resize != "nearest" && resize != "bilinear")
    usage_error("preprocessing: 'resize' must be nearest or bilinear");
  p.resize = resize == "nearest" ? Interpolation::nearest : Interpolation::bilinear;
  p.crop = entry<int64_t>(json, "crop");
  p.bands = entry<int64_t>(json, "bands");
  p.pad = entry<bool>(json, "pad");
  p.type = type_called(entry<std::string>(json, "type"));
  p.scale = entry<std::vector<double>>(json, "scale");
  p.offset = entry<std::vector<double>>(json, "offset");
  p.fill = entry<std::vector<double>>(json, "fill");
  p.standardize = entry<bool>(json, "standardize");
  if (json.contains("nodata")) p.nodata = entry<double>(json, "nodata");
  if (json.contains("files")) p.files = entry<std::vector<std::string>>(json, "files");
  check_preprocess(p);
  return p;
}

}  // namespace fulmar
