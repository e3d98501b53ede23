#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "model/confusion.h"
#include "model/task.h"

namespace fulmar::model {

constexpr double most_class_weight = 1e6;

// What a wrong pixel costs, with p the probability of its own class and c that class's weight; the
// mean over pixels with a label is by c:
//   cross-entropy  -c log p
//   focal          -c (1 - p)^gamma log p (Lin et al. 2017)
//   dice           c (1 - p): one minus Dice's coefficient of all classes together
struct PixelLoss {
  std::string kind = "cross-entropy";
  int64_t gamma = 2;                    // of focal; 1 to 10
  std::vector<double> class_weights{};  // c, by class, 0 to most_class_weight; none: 1
};

// One of several classes a pixel: logits [N,H,W,K], labels u8 [N,H,W,1], or a label raster of any
// size with LABEL/samples beside it, which says how its pixels lie on the output's grid. The loss
// is a PixelLoss over the pixels with a label, 0 where none has one, the result "classes", index u8
// [N,H,W,1]. Metrics: those of Confusion, over all pixels with a label.
struct FULMAR_API Segmentation final : Task {
  // `of_rasters`: the classes' numbers in rasters of labels and of results; none: 0, 1, 2, …
  // Error(usage): not 2 to 255 classes, a pixel without a label looks like one of them, not a
  // number or a weight for each, or a loss that there isn't.
  explicit Segmentation(std::vector<std::string> class_names, int64_t unlabelled = 255,
                        std::vector<int64_t> of_rasters = {}, const PixelLoss& how = {});

  std::string kind() const override { return "segmentation"; }
  std::string to_json() const override;
  Recorded record(Tape& tape, Val output, const Target& target,
                  const LossOptions& options) const override;
  TensorSpec label_of(const Shape& output) const override {
    return {"", DType::u8, {output.images(), output.height(), output.width(), 1}};
  }
  std::unique_ptr<Meter> meter() const override;
  std::shared_ptr<const Task> with(const NamedValues&) const override {
    return std::make_shared<Segmentation>(*this);
  }

  std::vector<std::string> classes;  // in the order of the logits
  int64_t ignore;                    // the label of pixels without one
  std::vector<int64_t> numbers;      // of the classes in rasters; elsewhere their places count
  PixelLoss loss;
};

// What such a task's meter counted. Error(usage): it is another's.
FULMAR_API const Confusion& counts_of(const Meter& meter);

std::shared_ptr<const Task> read_segmentation(const std::string& json);

}  // namespace fulmar::model
