#pragma once

#include <array>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "engine/io/safetensors.h"
#include "engine/model.h"

// What tests/goldens/README.md describes: files of results, and the formula that weights, inputs
// and projections come from.
namespace fulmar::test {

using Values = std::vector<double>;

Values formula_uniform(const std::string& name, int64_t count);  // u in [0, 1)
Values formula_signed(const std::string& name, int64_t count);   // 2u - 1
// Every parameter and statistic of the model, by its name.
void set_formula_weights(Model& model);

class Golden {
 public:
  explicit Golden(const std::string& name);  // "ops": tests/goldens/ops.safetensors

  bool has(const std::string& tensor) const { return file_.find(tensor) != nullptr; }
  Values values(const std::string& tensor) const;  // F64, F32, I32 or U8
  double value(const std::string& tensor) const { return values(tensor).at(0); }
  Shape shape(const std::string& tensor) const;
  // What follows `prefix` in the names of tensors, in the file's order.
  std::vector<std::string> names(const std::string& prefix) const;
  nlohmann::json metadata(const std::string& key) const {
    return nlohmann::json::parse(file_.text(key));
  }

 private:
  Safetensors file_;
};

// The norm and eight projections of a tensor that goldens know as `name`.
std::array<double, 9> summary_of(const std::string& name, std::span<const double> tensor);
// The largest difference between a tensor's summary and a golden one, relative to its norm.
double summary_difference(const std::string& name, std::span<const double> tensor,
                          const Values& golden);

double norm(std::span<const double> x);
// |x - y| / |y|, and |x| where y is 0
double difference(std::span<const double> x, std::span<const double> y);

}  // namespace fulmar::test
