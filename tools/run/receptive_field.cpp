#include "tools/run/receptive_field.h"

#include <algorithm>
#include <cmath>

#include "data/encode_png.h"
#include "engine/io/file.h"
#include "model/explain/receptive_field.h"
#include "tools/run/heat.h"
#include "tools/run/npy.h"

namespace fulmar::tools {

using namespace model::explain;

void FieldMeter::add(Explainer& explainer, const std::vector<float>& input) {
  const LayerInfo& layer = explainer.layer(output_);
  const Shape& shape = layer.shape;
  const std::vector<float> logits = explainer.value(output_, input);
  const int64_t middle = (shape.height() / 2 * shape.width() + shape.width() / 2);
  const auto first = logits.begin() + middle * shape.channels();
  const int64_t called = std::max_element(first, first + shape.channels()) - first;
  Target target;
  target.value = output_;
  target.weights.assign(logits.size(), 0.0F);
  target.weights[static_cast<size_t>(middle * shape.channels() + called)] = 1;
  Wanted wanted;
  wanted.gradient = true;
  const Shape& seen = explainer.shape();
  sum_.resize(static_cast<size_t>(seen.height() * seen.width()), 0.0);
  explainer.at(target, wanted, input, [&](int64_t, const Point& point) {
    for (size_t i = 0; i < point.gradient.size(); i++)
      sum_[i / static_cast<size_t>(seen.channels())] +=
          std::abs(static_cast<double>(point.gradient[i]));
  });
  pictures_++;
}

EffectiveField FieldMeter::measure(const Explainer& explainer, const std::string& folder) const {
  EffectiveField field;
  field.task = task_;
  field.pictures = pictures_;
  field.possible = explainer.layer(output_).receptive_field;
  if (pictures_ == 0) return field;
  const int64_t height = explainer.shape().height(), width = explainer.shape().width();
  std::vector<float> map, drawn;
  for (const double sum : sum_) {
    map.push_back(static_cast<float>(sum / static_cast<double>(pictures_)));
    drawn.push_back(std::sqrt(map.back()));  // so that what is far is visible
  }
  const auto side = [&](double share) {
    return side_of_share(map, height, width, height / 2, width / 2, share);
  };
  field.half = side(0.5);
  field.most = side(0.9);
  field.effective = effective_side(map);
  const std::string stem = folder + "/receptive-field" + (task_.empty() ? "" : "." + task_);
  write_npy(stem + ".npy", {height, width}, map);
  data::Image black;
  black.height = height, black.width = width, black.bands = 1;
  black.data.assign(static_cast<size_t>(height * width), 0);
  const double reach = static_cast<double>(field.most) / 2;
  const auto share = [&](int64_t extent, double sign) {
    const auto all = static_cast<double>(extent);
    return std::clamp((std::floor(all / 2) + 0.5 + sign * reach) / all, 0.0, 1.0);
  };
  const SeenArea frame{share(width, -1), share(height, -1), share(width, 1), share(height, 1)};
  field.png =
      data::encode_png(overlay(black, heat_picture(drawn, height, width, heat_peak(drawn)), frame));
  write_file(stem + ".png", field.png);
  field.side = width;
  field.files = {stem + ".npy", stem + ".png"};
  return field;
}

Json field_json(const EffectiveField& field) {
  return {{"task", field.task},
          {"pictures", field.pictures},
          {"possible", field.possible > 0 ? Json(field.possible) : Json(nullptr)},
          {"side_of_half", field.half},
          {"side_of_90_percent", field.most},
          {"effective_side", field.effective},
          {"files", field.files}};
}

}  // namespace fulmar::tools
