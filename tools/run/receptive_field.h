#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/explain/explainer.h"
#include "tools/run/explain_target.h"
#include "tools/run/json.h"

namespace fulmar::tools {

// How far a task's decision on the middle pixel reaches, measured: the size of the gradient of the
// logit that this pixel is called by, by the input, added up over the bands; the mean over pictures
// (Luo et al. 2016).
struct EffectiveField {
  std::string task;
  int64_t pictures = 0;
  int64_t possible = 0;        // pixels a side that the layers let it see; 0: all
  int64_t half = 0, most = 0;  // sides of the squares that hold 50 and 90 % of the gradient
  double effective = 0;        // the paper's measure, see effective_side()
  std::vector<std::string> files{};
  std::string png{};  // drawn, with a line around 90 %
  int64_t side = 0;   // of the drawing
};

class FieldMeter {
 public:
  FieldMeter(std::string task, std::string output)
      : task_(std::move(task)), output_(std::move(output)) {}
  void add(model::explain::Explainer& explainer, const std::vector<float>& input);
  // Writes FOLDER/receptive-field.TASK.npy and .png. Error(file). `pictures` is 0 and nothing is
  // written where none was added.
  EffectiveField measure(const model::explain::Explainer& explainer,
                         const std::string& folder) const;

 private:
  std::string task_, output_;
  int64_t pictures_ = 0;
  std::vector<double> sum_;
};

Json field_json(const EffectiveField& field);

}  // namespace fulmar::tools
