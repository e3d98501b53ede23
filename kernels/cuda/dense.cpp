#include "kernels/cuda/dense.h"

namespace fulmar::cuda {
namespace {

const char* const product_names[] = {"conv2d", "conv2d_input_grad", "conv2d_weight_grad"};
const char* const precision_names[] = {"fp32", "tf32", "bf16"};

template <size_t n>
std::string listed(const std::array<int64_t, n>& values) {
  std::string text;
  for (int64_t value : values) text += (text.empty() ? "" : ",") + std::to_string(value);
  return text;
}

}  // namespace

bool DenseProblem::is_matrix_product() const {
  return groups == 1 && w.images() == 1 && w.height() == 1 && window.stride[0] == 1 &&
         window.stride[1] == 1 && window.padding == std::array<int64_t, 4>{};
}

bool DenseProblem::is_empty() const {
  return x.elements() == 0 || w.elements() == 0 || y.elements() == 0;
}

std::string DenseProblem::text() const {
  return std::string(product_names[static_cast<int>(product)]) + " " +
         precision_names[static_cast<int>(precision)] + " x" + x.to_string() + " w" +
         w.to_string() + " y" + y.to_string() + " stride " + listed(window.stride) + " dilation " +
         listed(window.dilation) + " padding " + listed(window.padding) + " groups " +
         std::to_string(groups) + (bias ? " bias" : "");
}

std::vector<int64_t> DenseProblem::numbers() const {
  std::vector<int64_t> all{static_cast<int64_t>(product), static_cast<int64_t>(precision), groups,
                           bias};
  for (const Shape* shape : {&x, &w, &y})
    for (int64_t extent : {shape->images(), shape->height(), shape->width(), shape->channels()})
      all.push_back(extent);
  all.insert(all.end(), window.stride.begin(), window.stride.end());
  all.insert(all.end(), window.dilation.begin(), window.dilation.end());
  all.insert(all.end(), window.padding.begin(), window.padding.end());
  return all;
}

}  // namespace fulmar::cuda
