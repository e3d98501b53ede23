#include "model/polar_low.h"

#include <map>
#include <string>

#include "kernels/error.h"

namespace fulmar::model {
namespace {

// Numbers layers of a kind as Keras does: conv2d, conv2d_1, conv2d_2, …
class Names {
 public:
  std::string next(const std::string& kind) {
    const int n = count_[kind]++;
    return n == 0 ? kind : kind + "_" + std::to_string(n);
  }

 private:
  std::map<std::string, int> count_;
};

class Builder {
 public:
  explicit Builder(Network& network) : network_(network) {}

  std::string add(const std::string& op, const std::string& kind,
                  const std::vector<std::string>& inputs, const Attributes& attributes = {}) {
    return network_.add(op, names_.next(kind), inputs, attributes);
  }
  std::string conv(const std::string& x, int64_t filters, int64_t kernel) {
    return add("conv2d", "conv2d", {x},
               {{"filters", filters},
                {"kernel", kernel},
                {"stride", int64_t{2}},
                {"padding", std::string("same")}});
  }
  std::string batch_norm_relu(const std::string& x) {
    const std::string n = add("batch_normalization", "batch_normalization", {x},
                              {{"epsilon", 1e-3}, {"momentum", 0.99}});
    return add("activation", "activation", {n}, {{"function", std::string("relu")}});
  }
  std::string separable(const std::string& x, int64_t filters) {
    const std::string z =
        add("separable_conv2d", "separable_conv2d", {x},
            {{"filters", filters}, {"kernel", int64_t{3}}, {"padding", std::string("same")}});
    return batch_norm_relu(z);
  }

 private:
  Network& network_;
  Names names_;
};

}  // namespace

Network polar_low(const PolarLowOptions& options) {
  if (options.widths.empty()) usage_error("polar_low needs at least one width");
  for (int64_t width : options.widths)
    if (width < 1) usage_error("polar_low: a width must be at least 1");
  Network network;
  Builder b(network);
  std::string x = b.add("input", "input", {}, {{"channels", options.channels}});
  network.set_scope("stem");
  x = b.batch_norm_relu(b.conv(x, options.widths.front(), 3));
  for (size_t i = 0; i < options.widths.size(); i++) {
    const int64_t width = options.widths[i];
    network.set_scope("block " + std::to_string(i + 1));
    std::string y = b.separable(b.separable(x, width), width);
    y = b.add(
        "max_pooling2d", "max_pooling2d", {y},
        {{"pool_size", int64_t{3}}, {"stride", int64_t{2}}, {"padding", std::string("same")}});
    const std::string skip = b.conv(x, width, 1);
    x = b.add("add", "add", {y, skip});
  }
  network.set_scope("head");
  x = b.separable(x, 2 * options.widths.back());
  x = b.add("global_average_pooling2d", "global_average_pooling2d", {x});
  if (options.dropout > 0) x = b.add("dropout", "dropout", {x}, {{"rate", options.dropout}});
  b.add("dense", "dense", {x}, {{"units", options.classes}});
  return network;
}

}  // namespace fulmar::model
